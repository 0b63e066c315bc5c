import type { Koffi } from './koffi.js';

/**
 * Calls of the C library of this process, or null where koffi has no build for the machine, or the library lacks one.
 * @param load brings koffi, or throws
 * @param bind declares the calls
 */
export function loadCalls<T>(
  load: () => unknown,
  bind: (library: ReturnType<Koffi['load']>, koffi: Koffi) => T,
): T | null {
  try {
    const koffi = load() as Koffi;
    return bind(koffi.load(null), koffi);
  } catch {
    return null;
  }
}
