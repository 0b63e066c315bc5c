import type { Random } from '../../protocol/fixtures/memory-link.js';
import { mutateJson } from './mutate-json.js';
import type { Compared } from './probe.js';

/** What an input is made from, beside itself. */
export interface Material {
  random: Random;
  words: readonly string[];
  /** What the last run of this input has compared. */
  compared: readonly Compared[];
  /** Another input that is worth something. */
  other: Buffer;
}

/** An input may have so many bytes. */
export const MAX_INPUT_BYTES = 4096;

/** Numbers at which code turns. */
const EDGES = [0, 1, 2, 7, 8, 10, 16, 127, 128, 255, 256, 4096, 32_767, 32_768, 65_535, 65_536];
const LARGE_EDGES = [0x7fffffff, 0x80000000, 0xffffffff];

/** One time in so many an input is repeated: what takes a time that grows with the square shows then. */
const REPEAT_ONE_IN = 24;

type Mutation = (input: Buffer, material: Material) => Buffer;

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  setByte,
  removePiece,
  repeatPiece,
  insertBytes,
  putNumber,
  putWord,
  putWord,
  putCompared,
  putCompared,
  splice,
  changeDigits,
  (input, material) => mutateJson(input, material) ?? setByte(input, material),
  (input, material) => mutateJson(input, material) ?? putWord(input, material),
];

/** An input that is a little different. */
export function mutate(input: Buffer, material: Material): Buffer {
  const { random } = material;
  let result: Buffer = Buffer.from(input);
  const count = 1 << Math.floor(random() * 4);
  for (let done = 0; done < count; done++) result = pick(random, MUTATIONS)(result, material);
  if (random() * REPEAT_ONE_IN < 1) result = multiplied(result, random);
  return result.subarray(0, MAX_INPUT_BYTES);
}

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

function below(random: Random, end: number): number {
  return Math.floor(random() * end);
}

function flipBit(input: Buffer, { random }: Material): Buffer {
  const at = below(random, input.length);
  if (at < input.length) input[at] = (input[at] as number) ^ (1 << below(random, 8));
  return input;
}

function setByte(input: Buffer, { random }: Material): Buffer {
  const at = below(random, input.length);
  if (at < input.length) input[at] = below(random, 256);
  return input;
}

/** Two places, the lower one first; rarely far from each other. */
function piece(input: Buffer, random: Random): [start: number, end: number] {
  const start = below(random, input.length);
  const most = random() < 0.8 ? 16 : input.length;
  return [start, Math.min(input.length, start + 1 + below(random, most))];
}

function removePiece(input: Buffer, { random }: Material): Buffer {
  const [start, end] = piece(input, random);
  return Buffer.concat([input.subarray(0, start), input.subarray(end)]);
}

function repeatPiece(input: Buffer, { random }: Material): Buffer {
  const [start, end] = piece(input, random);
  return insert(input, below(random, input.length + 1), input.subarray(start, end));
}

function insertBytes(input: Buffer, { random }: Material): Buffer {
  const bytes = Buffer.from(Array.from({ length: 1 + below(random, 8) }, () => below(random, 256)));
  return insert(input, below(random, input.length + 1), bytes);
}

function putNumber(input: Buffer, { random }: Material): Buffer {
  const size = pick(random, [1, 2, 4, 4]);
  const value = pick(random, size < 4 ? EDGES : [...EDGES, ...LARGE_EDGES]) % 2 ** (8 * size);
  const at = below(random, input.length - size + 1);
  if (input.length >= size) input.writeUIntLE(value, at, size);
  return input;
}

function putWord(input: Buffer, material: Material): Buffer {
  const { random, words } = material;
  if (words.length === 0) return insertBytes(input, material);
  return put(input, Buffer.from(pick(random, words)), random);
}

/** Puts one of two values that were compared where the other one is in the input, or anywhere. */
function putCompared(input: Buffer, material: Material): Buffer {
  const { random, compared } = material;
  if (compared.length === 0) return setByte(input, material);
  const pair = pick(random, compared).map((text) => Buffer.from(text, 'latin1'));
  if (random() < 0.5) pair.reverse();
  const [there, wanted] = pair as [Buffer, Buffer];
  const at = input.indexOf(there, below(random, input.length));
  if (at < 0) return put(input, wanted, random);
  return Buffer.concat([input.subarray(0, at), wanted, input.subarray(at + there.length)]);
}

function splice(input: Buffer, { random, other }: Material): Buffer {
  const head = input.subarray(0, below(random, input.length + 1));
  return Buffer.concat([head, other.subarray(below(random, other.length + 1))]);
}

/** Another number where there is one in decimal digits. */
function changeDigits(input: Buffer, material: Material): Buffer {
  const { random } = material;
  const numbers = [...input.toString('latin1').matchAll(/\d+/g)];
  if (numbers.length === 0) return flipBit(input, material);
  const { 0: digits, index } = pick(random, numbers);
  const value = pick(random, [pick(random, EDGES), Number(digits) + 1, Number(digits) - 1, 2 ** 53]);
  const end = index + digits.length;
  return Buffer.concat([input.subarray(0, index), Buffer.from(String(value)), input.subarray(end)]);
}

/** The input, or a piece of it, as often as there is room for. */
function multiplied(input: Buffer, random: Random): Buffer {
  const [start, end] = random() < 0.3 ? [0, input.length] : piece(input, random);
  const times = Math.floor((MAX_INPUT_BYTES - input.length) / Math.max(1, end - start));
  if (times < 1) return input;
  return insert(input, end, Buffer.concat(Array.from({ length: times }, () => input.subarray(start, end))));
}

function put(input: Buffer, bytes: Buffer, random: Random): Buffer {
  const at = below(random, input.length + 1);
  if (random() < 0.5) return insert(input, at, bytes);
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at + bytes.length)]);
}

function insert(input: Buffer, at: number, bytes: Buffer): Buffer {
  return Buffer.concat([input.subarray(0, at), bytes, input.subarray(at)]);
}
