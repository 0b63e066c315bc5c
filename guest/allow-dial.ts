import ipaddr from 'ipaddr.js';
import { UsageError } from '../protocol/errors.js';
import type { Destination } from '../protocol/wire/destination.js';

/** What the guest's policy says of a destination. */
export type DialRule = (destination: Destination) => boolean;

const MAX_PORT = 65535;

/**
 * Reads a rule of --allow-dial: `[ADDRESS[/PREFIX]][:PORT[-END]][/tcp|/udp]`, where `*` or nothing is any
 * address, IPv6 stands in brackets, or `unix:PATH`, where a `*` at the end stands for any rest.
 * @throws UsageError
 */
export function parseDialRule(text: string): DialRule {
  if (text.startsWith('unix:')) return parsePathRule(text);
  const [, address = '', port, proto] =
    /^(\*|\[[^\]]*\](?:\/\d+)?|[^:]*?)(?::([^/]*))?(?:\/(tcp|udp))?$/.exec(text) ?? bad(text, '');
  if (address === '' && port === undefined && proto === undefined) bad(text, 'it is empty');
  const inRange = port === undefined ? () => true : parsePorts(port, text);
  const matchesAddress = address === '' || address === '*' ? () => true : parseAddress(address, text);
  return (destination) =>
    destination.proto !== 'unix' &&
    (proto === undefined || destination.proto === proto) &&
    inRange(destination.port) &&
    matchesAddress(destination.ip);
}

function parsePathRule(text: string): DialRule {
  const path = text.slice('unix:'.length);
  if (!path.startsWith('/')) bad(text, 'the path must begin with /');
  if (!path.endsWith('*')) return (destination) => destination.proto === 'unix' && destination.path === path;
  const start = path.slice(0, -1);
  return (destination) =>
    destination.proto === 'unix' && destination.path.startsWith(start) && !destination.path.includes('/../');
}

function parsePorts(ports: string, text: string): (port: number) => boolean {
  const [, first, last = first] =
    /^(\d+)(?:-(\d+))?$/.exec(ports) ?? bad(text, `'${ports}' is no port or range`);
  const from = Number(first);
  const to = Number(last);
  if (from < 1 || to > MAX_PORT || from > to)
    bad(text, `ports go from 1 to ${MAX_PORT}, the lower one first`);
  return (port) => port >= from && port <= to;
}

function parseAddress(address: string, text: string): (ip: string) => boolean {
  const bare = address.replace(/^\[([^\]]*)\]/, '$1');
  if (ipaddr.isValidCIDR(bare)) {
    const [network, prefix] = ipaddr.parseCIDR(bare);
    return (ip) => {
      const candidate = ipaddr.process(ip);
      return candidate.kind() === network.kind() && candidate.match(network, prefix);
    };
  }
  if (!ipaddr.IPv4.isValidFourPartDecimal(bare) && !ipaddr.IPv6.isValid(bare))
    bad(text, `'${bare}' is no IP address`);
  const wanted = ipaddr.process(bare).toString();
  return (ip) => ipaddr.process(ip).toString() === wanted;
}

function bad(text: string, why: string): never {
  const reason = why ? `: ${why}` : '';
  throw new UsageError(
    `'${text}' is not a rule of --allow-dial${reason}; such as 127.0.0.1:8080, 10.0.0.0/8:80-90/tcp, [::1], :8080 or unix:/run/*`,
  );
}
