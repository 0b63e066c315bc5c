import type http from 'node:http';
import { ByteCollector } from '../protocol/byte-collector.js';
import { messageOf, OperationError } from '../protocol/errors.js';

/** What is read of an answer of the engine: a hundred thousand published ports fit into it. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** Reads an engine's answer to its end. @throws OperationError when it is too long, or no JSON */
export async function readJson(response: http.IncomingMessage): Promise<unknown> {
  const answer = new ByteCollector();
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if (answer.length + chunk.length > MAX_ANSWER_BYTES)
      throw new OperationError(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    answer.append(chunk);
  }
  return parseJson(answer.take().toString());
}

/** @throws OperationError */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new OperationError(`it has sent what is no JSON: ${messageOf(thrown)}`);
  }
}

// ---- values, of which any may be another one than was expected ----------------------------------------------

export type Fields = Readonly<Record<string, unknown>>;

/** The fields of an object; none where it is something else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** The entries of a list; none where it is something else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A text; an empty one where it is something else. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A number, or one that is written as a text; 0 where it is something else. */
export function numberOf(value: unknown): number {
  return (typeof value === 'number' || typeof value === 'string' ? Number(value) : 0) || 0;
}
