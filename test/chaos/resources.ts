import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What a process holds, as /proc has it. */
export interface Holdings {
  /** Descriptors, by what they are, and watches on folders. */
  readonly descriptors: Readonly<Record<string, number>>;
  /** TCP sockets that listen. */
  readonly listeners: number;
}

/** What /proc calls the descriptor that watches on folders are told by. */
const INOTIFY = 'anon_inode:inotify';

/** What libfaketime keeps for itself, in some processes and not in others. */
const FAKETIME = '/dev/shm/faketime_';

/** The state of a socket that listens, in /proc/net/tcp. */
const LISTEN = '0A';

export function holdingsOf(pid: number): Holdings {
  const links = descriptorsOf(pid);
  const descriptors: Record<string, number> = {};
  for (const [number, link] of links) {
    if (link.startsWith(FAKETIME)) continue;
    // Numbers of sockets and processes are others each time.
    const kind = link.replace(/:?\[\d+\]$|\d+$/, '');
    // The first watch on a folder makes libuv open one descriptor for all of them, which it keeps: they count, not that.
    const [name, count] = kind === INOTIFY ? ['watches', watchesOf(pid, number)] : [kind, 1];
    if (count > 0) descriptors[name] = (descriptors[name] ?? 0) + count;
  }
  const listening = listeningInodes(pid);
  const listeners = [...links.values()].filter((link) => listening.has(link)).length;
  return { descriptors: sorted(descriptors), listeners };
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
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    // It is gone.
    return 0;
  }
}

/** @returns what each descriptor is, by its number */
function descriptorsOf(pid: number): Map<string, string> {
  const folder = `/proc/${pid}/fd`;
  const links = new Map<string, string>();
  for (const number of readdirSync(folder))
    try {
      links.set(number, readlinkSync(`${folder}/${number}`));
    } catch {
      // Closed meanwhile.
    }
  return links;
}

function watchesOf(pid: number, descriptor: string): number {
  try {
    return readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, 'utf8').match(/^inotify wd:/gm)?.length ?? 0;
  } catch {
    return 0;
  }
}

function listeningInodes(pid: number): ReadonlySet<string> {
  const tables = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8'));
  const fields = tables.flatMap((table) => table.split('\n')).map((line) => line.trim().split(/\s+/));
  return new Set(fields.filter((each) => each[3] === LISTEN).map((each) => `socket:[${each[9]}]`));
}

function sorted(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1)));
}
