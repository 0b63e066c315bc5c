import { getSystemErrorName } from 'node:util';

/**
 * An error like node:net's own.
 * @param status a negative errno
 * @param target what the call was for, such as an address
 */
export function systemError(status: number, syscall: string, target?: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(status);
  const error = new Error(target === undefined ? `${syscall} ${code}` : `${syscall} ${code} ${target}`);
  return Object.assign(error, { code, errno: status, syscall });
}
