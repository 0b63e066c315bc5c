import ipaddr from 'ipaddr.js';
import { UsageError } from './errors.js';
import { type Destination, MAX_PORT } from './wire/destination.js';

/** One rule of a policy: which endpoints it allows. */
export interface EndpointRule {
  /** As it was given. */
  readonly text: string;
  allows(endpoint: Destination): boolean;
}

/**
 * Reads a rule such as --allow-dial and --allow-expose take: `[ADDRESS[/PREFIX]][:PORT[-END]][/tcp|/udp]`,
 * where `*` or nothing is any address, IPv6 stands in brackets, or `unix:PATH`, where a `*` at the end stands
 * for any rest. Port 0, which stands for one that is not known yet, is allowed where every port is.
 * @param option that takes the rule, with its dashes, for the message
 * @throws UsageError
 */
export function parseEndpointRule(text: string, option: string): EndpointRule {
  const bad = (why: string): never => {
    const reason = why ? `: ${why}` : '';
    throw new UsageError(
      `'${text}' is not a rule of ${option}${reason}; such as 127.0.0.1:8080, 10.0.0.0/8:80-90/tcp, [::1], :8080 or unix:/run/*`,
    );
  };
  const allows = text.startsWith('unix:')
    ? parsePath(text.slice('unix:'.length), bad)
    : parseAddressAndPort(text, bad);
  return { text, allows };
}

type Bad = (why: string) => never;

function parseAddressAndPort(text: string, bad: Bad): EndpointRule['allows'] {
  const [, address = '', port, proto] =
    /^(\*|\[[^\]]*\](?:\/\d+)?|[^:]*?)(?::([^/]*))?(?:\/(tcp|udp))?$/.exec(text) ?? bad('');
  if (address === '' && port === undefined && proto === undefined) bad('it is empty');
  const inRange = port === undefined ? () => true : parsePorts(port, bad);
  const matchesAddress = address === '' || address === '*' ? () => true : parseAddress(address, bad);
  return (endpoint) =>
    endpoint.proto !== 'unix' &&
    (proto === undefined || endpoint.proto === proto) &&
    inRange(endpoint.port) &&
    matchesAddress(endpoint.ip);
}

function parsePath(path: string, bad: Bad): EndpointRule['allows'] {
  if (!path.startsWith('/')) bad('the path must begin with /');
  if (!path.endsWith('*')) return (endpoint) => endpoint.proto === 'unix' && endpoint.path === path;
  const start = path.slice(0, -1);
  return (endpoint) =>
    endpoint.proto === 'unix' && endpoint.path.startsWith(start) && !endpoint.path.split('/').includes('..');
}

function parsePorts(ports: string, bad: Bad): (port: number) => boolean {
  const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(ports) ?? bad(`'${ports}' is no port or range`);
  const from = Number(first);
  const to = Number(last);
  if (from < 1 || to > MAX_PORT || from > to) bad(`ports go from 1 to ${MAX_PORT}, the lower one first`);
  const every = from === 1 && to === MAX_PORT;
  return (port) => every || (port >= from && port <= to);
}

function parseAddress(address: string, bad: Bad): (ip: string) => boolean {
  const bare = address.replace(/^\[([^\]]*)\]/, '$1');
  // A part alone, such as 127 in 127/8, would be taken for 0.0.0.127.
  if (isLiteral(bare.replace(/\/.*/, '')) && ipaddr.isValidCIDR(bare)) {
    const [network, prefix] = ipaddr.parseCIDR(bare);
    return (ip) => {
      const candidate = ipaddr.process(ip);
      return candidate.kind() === network.kind() && candidate.match(network, prefix);
    };
  }
  if (!isLiteral(bare)) bad(`'${bare}' is no IP address`);
  const wanted = ipaddr.process(bare).toString();
  return (ip) => ipaddr.process(ip).toString() === wanted;
}

function isLiteral(address: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(address) || ipaddr.IPv6.isValid(address);
}
