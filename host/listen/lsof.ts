import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A socket as lsof lists it. */
export interface LsofSocket {
  ip: string;
  port: number;
  pid: number;
  command: string;
}

/** What lsof may write: some 100,000 sockets. */
const MAX_LSOF_BYTES = 4 * 1024 * 1024;

const run = promisify(execFile);

/**
 * Asks lsof, as macOS has it, for sockets that have a port.
 * @param lsof the program
 * @param port of which alone; without it of every one
 * @param timeoutMs it may hang on dead network mounts
 * @throws what execFile throws, also when it has found nothing: with the code 1 then
 */
export async function runLsof(
  lsof: string,
  proto: 'tcp' | 'udp',
  timeoutMs: number,
  port?: number,
): Promise<LsofSocket[]> {
  const only = port === undefined ? '' : `:${port}`;
  const which = proto === 'tcp' ? [`-iTCP${only}`, '-sTCP:LISTEN'] : [`-iUDP${only}`];
  const options = { timeout: timeoutMs, maxBuffer: MAX_LSOF_BYTES };
  return parseLsof((await run(lsof, ['-nP', ...which, '-Fpcnt'], options)).stdout);
}

/** The sockets in `lsof -Fpcnt` output: lines p<pid>, c<command>, and per file f<fd>, t<type> and n<name>. */
export function parseLsof(output: string): LsofSocket[] {
  const sockets: LsofSocket[] = [];
  let pid = 0;
  let command = '';
  let type = '';
  for (const line of output.split('\n')) {
    const value = line.slice(1);
    if (line.startsWith('p')) pid = Number(value);
    if (line.startsWith('c')) command = value;
    if (line.startsWith('t')) type = value;
    // A connected UDP socket's name has its peer behind an arrow.
    const name = line.startsWith('n') ? /^(.*?):(\d+)(->.*)?$/.exec(value) : null;
    if (!name) continue;
    const [, address = '', port] = name;
    // "*" of IPv6 may stand for both families; it is in the way of either.
    const ip = address === '*' ? (type === 'IPv4' ? '0.0.0.0' : '::') : address.replace(/^\[|\]$/g, '');
    sockets.push({ ip, port: Number(port), pid, command });
  }
  return sockets;
}
