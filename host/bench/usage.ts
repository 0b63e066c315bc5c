import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** What processes have used so far. */
export interface Usage {
  cpuSeconds: number;
  residentBytes: number;
}

/** Clock ticks per second in /proc/PID/stat: 100 on every Linux that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;
const SECONDS_PER_DAY = 86_400;

/**
 * CPU time and memory of the given processes and of all their descendants together.
 * @throws when the OS does not tell
 */
export async function usageOf(pids: readonly number[], platform = process.platform): Promise<Usage> {
  const table = platform === 'linux' ? await readProc() : await readPs();
  const total: Usage = { cpuSeconds: 0, residentBytes: 0 };
  for (const entry of table.values()) {
    if (!descends(entry, pids, table)) continue;
    total.cpuSeconds += entry.cpuSeconds;
    total.residentBytes += entry.residentBytes;
  }
  return total;
}

export interface Entry extends Usage {
  pid: number;
  parent: number;
}

function descends(entry: Entry, pids: readonly number[], table: ReadonlyMap<number, Entry>): boolean {
  for (let at: Entry | undefined = entry; at; at = table.get(at.parent)) {
    if (pids.includes(at.pid)) return true;
    // Where the kernel is in the table, it is its own parent.
    if (at.parent === at.pid) return false;
  }
  return false;
}

/** @param root where proc(5) is mounted */
export async function readProc(root = '/proc'): Promise<Map<number, Entry>> {
  const table = new Map<number, Entry>();
  for (const name of await readdir(root)) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const entry = parseStat(
        await readFile(`${root}/${name}/stat`, 'latin1'),
        await readFile(`${root}/${name}/status`, 'latin1'),
      );
      table.set(entry.pid, entry);
    } catch {
      // It has ended since the folder was read.
    }
  }
  return table;
}

/** proc(5): the name, field 2, is in parentheses and may hold anything. */
export function parseStat(stat: string, status: string): Entry {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // Fields 4 (parent), 14 and 15 (ticks), and those of children that were waited for, 16 and 17.
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? '0';
  return {
    pid: Number.parseInt(stat, 10),
    parent: Number(fields[1]),
    cpuSeconds: ticks / TICKS_PER_SECOND,
    residentBytes: Number(resident) * 1024,
  };
}

async function readPs(): Promise<Map<number, Entry>> {
  const { stdout } = await promisify(execFile)('ps', ['-axo', 'pid=,ppid=,rss=,time=']);
  return new Map(
    stdout
      .split('\n')
      .flatMap((line) => parsePsLine(line))
      .map((entry) => [entry.pid, entry]),
  );
}

/** `  123   1  2048   1:02.50`, as macOS has it; `1-00:01:02`, after a day, as others have it. */
export function parsePsLine(line: string): Entry[] {
  const [pid, parent, resident, time] = line.trim().split(/\s+/);
  if (pid === undefined || time === undefined) return [];
  const [clock = '', days = '0'] = time.split('-').reverse();
  const seconds = clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
  const cpuSeconds = Number(days) * SECONDS_PER_DAY + seconds;
  return [{ pid: Number(pid), parent: Number(parent), residentBytes: Number(resident) * 1024, cpuSeconds }];
}
