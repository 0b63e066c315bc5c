import { createRequire } from 'node:module';
import type koffiModule from 'koffi';

export type Koffi = typeof koffiModule;

/**
 * Brings koffi, by which functions of the C library are called. The build of one file puts another module in the
 * place of this one (guest/single-file/carried-koffi.ts): so nothing else loads koffi by its name.
 * @throws where it has no build for the machine
 */
export function loadKoffi(): Koffi {
  return createRequire(import.meta.url)('koffi');
}
