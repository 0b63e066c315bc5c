import { Random } from './random.js';

/** What the two ends of a connection do, which its first bytes tell the destination. */
export interface Plan {
  /** Counts up; says which bytes are carried, too. */
  readonly id: number;
  readonly kind: Kind;
  /** Bytes from the client after the header, and to it. */
  readonly up: number;
  readonly down: number;
  /** How many requests they are, each with its answer; 0: both directions go at full speed. */
  readonly rounds: number;
  /** Which end resets the connection when it has moved `resetAt` bytes; 'none' for most. */
  readonly resetBy: (typeof ENDS)[number];
  readonly resetAt: number;
  /** How long (ms) a receiver rests after each read. */
  readonly restMs: number;
  /** Whether the client ends its direction only when it has received everything. */
  readonly endsLate: boolean;
}

export const KINDS = [
  'short',
  'requests',
  'upload',
  'download',
  'both ways',
  'half-close',
  'server ends first',
  'client resets',
  'server resets',
  'probe',
] as const;
export type Kind = (typeof KINDS)[number];

const ENDS = ['none', 'client', 'server'] as const;

/** How often each kind comes. Many are short, as most connections are. */
const MIX: readonly Kind[] = [
  ...['short', 'short', 'short', 'requests', 'requests', 'upload', 'download', 'both ways'],
  ...['half-close', 'server ends first', 'client resets', 'server resets'],
] as Kind[];

const KIB = 1024;
const MIB = 1024 * KIB;

/** The nth connection of a run. */
export function planOf(seed: number, id: number): Plan {
  const random = new Random(seed, `connection ${id}`);
  const kind = random.pick(MIX);
  return { ...plain(id, kind), ...detailsOf(kind, random) };
}

/** A small exchange that shows whether everything works. */
export function probePlan(id: number): Plan {
  return { ...plain(id, 'probe'), up: 20 * KIB, down: 20 * KIB, rounds: 1 };
}

function plain(id: number, kind: Kind): Plan {
  return { id, kind, up: 0, down: 0, rounds: 0, resetBy: 'none', resetAt: 0, restMs: 0, endsLate: false };
}

function detailsOf(kind: Kind, random: Random): Partial<Plan> {
  const much = (): number => random.between(64 * KIB, 4 * MIB);
  const restMs = random.between(2, 12);
  switch (kind) {
    case 'requests': {
      const rounds = random.between(2, 40);
      const [up, down] = [rounds * random.between(1, 4 * KIB), rounds * random.between(1, 32 * KIB)];
      return { rounds, up, down, endsLate: random.next() < 0.5 };
    }
    case 'upload':
      return { up: much(), down: 16, rounds: 1, restMs };
    case 'download':
      return { up: 16, down: much(), rounds: 1, restMs, endsLate: random.next() < 0.5 };
    case 'both ways':
      return { up: much(), down: much(), restMs };
    case 'half-close':
      return { up: random.between(0, 100), down: much(), restMs: 3 * restMs };
    case 'server ends first':
      return { up: much(), down: random.between(0, 100), restMs: 3 * restMs };
    case 'client resets':
    case 'server resets': {
      const [up, down] = [much(), much()];
      const resetAt = random.between(0, Math.min(up, down) - 1);
      return { up, down, restMs, resetBy: kind === 'client resets' ? 'client' : 'server', resetAt };
    }
    default:
      return { up: random.between(0, 2 * KIB), down: random.between(1, 64 * KIB), rounds: 1 };
  }
}

/** Bytes of a header. */
export const HEADER_BYTES = 32;
const MAGIC = 0x63_68_61_6f;

export function encodePlan(plan: Plan): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  for (const [index, word] of [MAGIC, plan.id, plan.up, plan.down, plan.resetAt].entries())
    header.writeUInt32BE(word, 4 * index);
  header.writeUInt16BE(plan.rounds, 20);
  header.writeUInt16BE(plan.restMs, 22);
  header.writeUInt8(KINDS.indexOf(plan.kind), 24);
  header.writeUInt8(ENDS.indexOf(plan.resetBy), 25);
  header.writeUInt8(Number(plan.endsLate), 26);
  header.writeUInt8(sum(header.subarray(0, 27)), 27);
  header.writeUInt32BE(~MAGIC >>> 0, 28);
  return header;
}

/** @throws when a byte of it is wrong */
export function decodePlan(header: Buffer): Plan {
  const word = (index: number): number => header.readUInt32BE(4 * index);
  const plan: Plan = {
    id: word(1),
    up: word(2),
    down: word(3),
    resetAt: word(4),
    rounds: header.readUInt16BE(20),
    restMs: header.readUInt16BE(22),
    kind: KINDS[header.readUInt8(24)] ?? 'probe',
    resetBy: ENDS[header.readUInt8(25)] ?? 'none',
    endsLate: header.readUInt8(26) === 1,
  };
  if (!encodePlan(plan).equals(header)) throw new Error(`no header: ${header.toString('hex')}`);
  return plan;
}

function sum(bytes: Buffer): number {
  return bytes.reduce((all, byte) => (all * 31 + byte) & 0xff, 0);
}
