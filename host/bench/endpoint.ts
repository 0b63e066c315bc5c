import { isIPv4, isIPv6 } from 'node:net';
import { UsageError } from '../../protocol/errors.js';

/** Where a forwarder, or the far end itself, listens; the host is a literal address. */
export interface Endpoint {
  host: string;
  port: number;
}

/**
 * `127.0.0.1:5201`, `localhost:5201`, `[::1]:5201`
 * @throws UsageError
 */
export function parseEndpoint(text: string): Endpoint {
  const [, bracketed = '', plain = '', port] = /^(?:\[(.*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = plain === 'localhost' ? '127.0.0.1' : plain || bracketed;
  const valid = plain === '' ? isIPv6(host) : isIPv4(host);
  if (!valid || Number(port) > 65535)
    throw new UsageError(`'${text}' is no HOST:PORT, such as 127.0.0.1:5201 or [::1]:5201`);
  return { host, port: Number(port) };
}

/** As parseEndpoint() takes it. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
