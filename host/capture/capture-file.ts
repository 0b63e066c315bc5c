import { constants, lstatSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { OperationError, reasonOf } from '../../protocol/errors.js';

/** Nobody else is to read what was carried. */
const FILE_MODE = 0o600;

/** Where a capture goes. */
export interface CaptureSink {
  /**
   * Resolves when it has been taken.
   * @returns false when nobody takes more
   * @throws OperationError when it cannot be written; what was written before is whole
   */
  write(blocks: Buffer): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * A new file, in the place of one that was there.
 * @throws OperationError when it cannot be made, or what is there is no regular file
 */
export async function createCaptureFile(path: string): Promise<CaptureSink> {
  try {
    await makeWay(path);
    return fileSink(path, await open(path, 'wx', FILE_MODE));
  } catch (thrown) {
    if (thrown instanceof OperationError) throw thrown;
    throw new OperationError(`the file ${path} cannot be made: ${reasonOf(thrown)}`);
  }
}

/**
 * A pipe that somebody reads from, as Wireshark does.
 * @throws OperationError when it cannot be opened
 */
export async function openFifo(path: string): Promise<CaptureSink> {
  try {
    // Not made if it is not there, nor read from: that its reader goes is to be seen.
    return fileSink(path, await open(path, constants.O_WRONLY));
  } catch (thrown) {
    throw new OperationError(`the pipe ${path} cannot be written to: ${reasonOf(thrown)}`);
  }
}

/** Standard output; whoever reads it may go, as `tshark -c 10` does. */
export function streamSink(stream: Writable): CaptureSink {
  return {
    write: (blocks) =>
      new Promise((resolve) => {
        stream.write(blocks, (error) => resolve(!error));
      }),
    close: async () => {},
  };
}

/** Only a regular file is replaced: a link would lead to another one, and a device is none. */
async function makeWay(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isFile())
    throw new OperationError(
      `${path} is there and is no regular file: it is not replaced; give another name, or -w -`,
    );
  await unlink(path);
}

function fileSink(path: string, file: FileHandle): CaptureSink {
  let length = 0;
  return {
    write: async (blocks) => {
      try {
        for (let at = 0; at < blocks.length; )
          at += (await file.write(blocks, at, blocks.length - at)).bytesWritten;
        length += blocks.length;
        return true;
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code === 'EPIPE') return false;
        // A part of a block would be an error to whoever reads the file.
        await file.truncate(length).catch(() => {});
        throw new OperationError(
          `the capture has ended, for ${path} cannot be written to: ${reasonOf(thrown)}`,
        );
      }
    },
    close: () => file.close(),
  };
}
