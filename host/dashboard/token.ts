import { randomBytes, timingSafeEqual } from 'node:crypto';
import { linkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { readOwnFile } from '../../protocol/program/own-file.js';
import { ensureFolder } from '../../protocol/program/runtime-folder.js';

/** 256 bits. */
const TOKEN_BYTES = 32;

/** As base64url has it. */
const TOKEN = /^[\w-]{43}$/;

const OTHERS = 0o077;
const OWNER_ONLY = 0o600;

/**
 * The token that is kept in a file, so that a page that is open goes on when the host has been restarted; the first
 * time it is made. The file has mode 0600, and its folder is ours: who can read it can use the control socket, too.
 * @throws OperationError when it cannot be kept, or the file is not what it should be
 */
export function keepToken(path: string): string {
  ensureFolder(dirname(path));
  try {
    return readToken(path) ?? makeToken(path);
  } catch (thrown) {
    if (thrown instanceof OperationError) throw thrown;
    throw new OperationError(`cannot keep the dashboard's token in ${path}: ${messageOf(thrown)}`);
  }
}

/** Compares in a time that says nothing of where they differ. */
export function isSameToken(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** @returns undefined when there is no file */
function readToken(path: string): string | undefined {
  const file = readOwnFile(path);
  if (!file) return undefined;
  if ((file.mode & OTHERS) === 0 && TOKEN.test(file.text)) return file.text;
  throw new OperationError(
    `${path} does not hold the dashboard's token, for this user alone (mode 0600): remove it, and a new one is made`,
  );
}

/** It has its content from its first moment on; who was first, of two hosts that start together, has made it. */
function makeToken(path: string): string {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, token, { mode: OWNER_ONLY, flag: 'wx' });
  const failure = failureOf(() => linkSync(draft, path));
  unlinkSync(draft);
  if (failure === undefined) return token;
  const other = readToken(path);
  if (other !== undefined) return other;
  throw failure;
}

function failureOf(action: () => void): unknown {
  try {
    action();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}
