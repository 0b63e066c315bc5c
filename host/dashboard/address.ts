import net from 'node:net';
import { UsageError } from '../../protocol/errors.js';
import { isLoopback } from '../../protocol/socket/loopback.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';

/** Where the dashboard listens. */
export interface DashboardAddress {
  /** An address of loopback. */
  readonly ip: string;
  /** 0: any. */
  readonly port: number;
  /** Whether any other port will do where this one is taken. */
  readonly orAny: boolean;
}

/** PORT on the keys of a telephone; no registered service has it. */
const DEFAULT_PORT = 7678;

/** Where it listens when no address is given. Two hosts on one machine are to find room, too. */
export const DEFAULT_ADDRESS: DashboardAddress = { ip: '127.0.0.1', port: DEFAULT_PORT, orAny: true };

/** `127.0.0.1:7678`, for help. */
export const DEFAULT_ADDRESS_TEXT = `${DEFAULT_ADDRESS.ip}:${DEFAULT_PORT}`;

/**
 * Reads `HOST:PORT`; the empty text is the default address.
 * @throws UsageError where it is none of loopback: whoever reaches the page needs only its token
 */
export function parseDashboardAddress(text: string): DashboardAddress {
  if (text === '') return DEFAULT_ADDRESS;
  const [, host = '', digits = ''] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  const ip = host === 'localhost' ? DEFAULT_ADDRESS.ip : (/^\[(.*)\]$/.exec(host)?.[1] ?? host);
  const bracketed = net.isIPv6(ip) === host.startsWith('[');
  if (net.isIP(ip) === 0 || !bracketed || Number(digits) > MAX_PORT)
    throw new UsageError(
      `--dashboard takes HOST:PORT, such as ${DEFAULT_ADDRESS_TEXT}, [::1]:9000 or localhost:0, not "${text}"`,
    );
  if (!isLoopback(ip))
    throw new UsageError(
      `the dashboard cannot listen on ${ip}: it is for this machine alone; use 127.0.0.1, [::1] or localhost (and ssh -L to see it from elsewhere)`,
    );
  return { ip, port: Number(digits), orAny: false };
}
