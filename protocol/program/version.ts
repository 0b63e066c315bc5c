import { readFileSync } from 'node:fs';
import { OperationError } from '../errors.js';

/** Where package.json lies from here: compiled into build/, and as source. */
const PLACES = ['../../../package.json', '../../package.json'];

/**
 * portferry's version, from its package.json.
 * @param base the URL of this module
 * @throws OperationError when the package is not complete
 */
export function readVersion(base: string = import.meta.url): string {
  for (const place of PLACES) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(place, base), 'utf8'));
      if (name === 'portferry') return version;
    } catch {
      // Not there: the other place has it.
    }
  }
  throw new OperationError('the package.json of portferry is missing: install it again');
}

/** The version that runs. */
export const VERSION = readVersion();
