import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What a process holds, as /proc has it. */
export interface Holdings {
  /** Descriptors, by what they are. */
  readonly descriptors: Readonly<Record<string, number>>;
  /** TCP sockets that listen. */
  readonly listeners: number;
}

/** The state of a socket that listens, in /proc/net/tcp. */
const LISTEN = '0A';

export function holdingsOf(pid: number): Holdings {
  const links = descriptorsOf(pid);
  const descriptors: Record<string, number> = {};
  for (const link of links) {
    // Numbers of sockets and processes are others each time.
    const kind = link.replace(/:?\[\d+\]$|\d+$/, '');
    descriptors[kind] = (descriptors[kind] ?? 0) + 1;
  }
  const listening = listeningInodes(pid);
  return { descriptors: sorted(descriptors), listeners: links.filter((link) => listening.has(link)).length };
}

/** Resident memory of a process (MiB). */
export function memoryOf(pid: number): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) / 1024;
}

/** How often the main thread of a process has waited for something so far. */
export function wakeUpsOf(pid: number): number {
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** How long (ms) the main thread of a process could have run so far, but no processor was free for it. */
export function waitedOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
}

function descriptorsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).flatMap((name) => {
    try {
      return [readlinkSync(`${folder}/${name}`)];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

function listeningInodes(pid: number): ReadonlySet<string> {
  const tables = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8'));
  const fields = tables.flatMap((table) => table.split('\n')).map((line) => line.trim().split(/\s+/));
  return new Set(fields.filter((each) => each[3] === LISTEN).map((each) => `socket:[${each[9]}]`));
}

function sorted(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1)));
}
