import type { IncomingMessage } from 'node:http';
import { ByteCollector } from '../byte-collector.js';

/** A body has more bytes than are taken; the rest of it has not been read. */
export class BodyTooLarge extends Error {
  override name = 'BodyTooLarge';
}

/**
 * Reads the body of a request or an answer.
 * @param most bytes that are taken; what is announced is looked at before anything is read
 * @throws BodyTooLarge, or Error when the message is cut off
 */
export function readBody(message: IncomingMessage, most: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = new ByteCollector();
    const refuse = (): void => {
      message.off('data', take);
      reject(new BodyTooLarge(`a body of more than ${most} bytes`));
    };
    const take = (piece: Buffer): void => {
      if (body.length + piece.length > most) refuse();
      else body.append(piece);
    };
    if (Number(message.headers['content-length'] ?? 0) > most) {
      refuse();
      return;
    }
    message.on('data', take);
    message.on('end', () => resolve(body.take()));
    message.on('error', reject);
    message.on('close', () => reject(new Error('it was cut off')));
  });
}
