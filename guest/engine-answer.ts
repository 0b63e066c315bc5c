import type http from 'node:http';
import { messageOf, OperationError } from '../protocol/errors.js';

/** What is read of an answer of the engine: a hundred thousand published ports fit into it. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** Reads an engine's answer to its end. @throws OperationError when it is too long, or no JSON */
export async function readJson(response: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES)
      throw new OperationError(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return parseJson(Buffer.concat(chunks).toString());
}

/** @throws OperationError */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new OperationError(`it has sent what is no JSON: ${messageOf(thrown)}`);
  }
}
