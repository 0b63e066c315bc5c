import { UsageError } from '../../protocol/errors.js';
import { isIdleSeconds, MAX_IDLE_SECONDS } from '../../protocol/services/control.js';
import { canonicalIp, EVERY_ADDRESS, LOCALHOST, lacksZone } from '../../protocol/wire/address.js';
import { MAX_PATH_BYTES, MAX_PORT } from '../../protocol/wire/destination.js';
import type { ForwardRule, PortRule } from './forward-rule.js';

export { type ForwardRule, formatRule } from './forward-rule.js';

export const SPEC_FORM =
  '[HOST_IP:]HOST_PORT[-END][:[GUEST_IP:]GUEST_PORT[-END]][/tcp[/proxy=v1|/proxy=v2]|/udp[/idle=SECONDS]]';
export const UNIX_SPEC_FORM = 'unix:HOST_PATH:GUEST_PATH';

const GUEST_LOCALHOST = '127.0.0.1';

export interface PortRange {
  first: number;
  last: number;
}

/** What a SPEC says after its ports. */
type PortParts = Pick<PortRule, 'proto' | 'proxyProtocol' | 'idleSeconds'>;

/** A SPEC's parts as they stand in it: what it leaves out is left out. */
export type Parts =
  | (PortParts & { hostIps?: string[]; host: PortRange; guestIp?: string; guest?: PortRange })
  | { proto: 'unix'; hostPath: string; guestPath?: string };

/**
 * Reads a SPEC such as `8080`, `127.0.0.1:8080:80`, `8000-8002:9000-9002`, `53/udp` or `unix:/a.sock:/b.sock`.
 * After the protocol more may be asked for: `/proxy=v1` or `/proxy=v2` of tcp, `/idle=SECONDS` of udp.
 * @returns one rule, or for a range one per port, which are to be exposed all or none
 * @throws UsageError with one line that quotes the SPEC, says what is wrong and what is right
 */
export function parseSpec(text: string): ForwardRule[] {
  const parts = parseParts(text);
  if (parts.proto === 'unix') {
    const { hostPath, guestPath } = parts;
    if (guestPath === undefined) throw bad(text, 'the path in the guest is missing', UNIX_SPEC_FORM);
    return [{ proto: 'unix', hostPath, destination: { proto: 'unix', path: guestPath } }];
  }
  const { hostIps = LOCALHOST, host, guestIp = GUEST_LOCALHOST, guest = host, ...rest } = parts;
  if (guest.first === 0)
    throw bad(text, 'port 0 is a free port of the host, and needs the port in the guest', '0:GUEST_PORT');
  if (guest.last - guest.first !== host.last - host.first)
    throw bad(
      text,
      `${count(host)} on the host cannot be joined to ${count(guest)} in the guest`,
      'ranges of the same length',
    );
  return portsOf(host).map((hostPort) => ({
    ...rest,
    hostIps: [...hostIps],
    hostPort,
    destination: { proto: rest.proto, ip: guestIp, port: guest.first + hostPort - host.first },
  }));
}

/**
 * Reads a SPEC as far as it goes.
 * @throws UsageError as parseSpec
 */
export function parseParts(text: string): Parts {
  if (text.startsWith('unix:')) return parseUnixParts(text);
  const [ends = '', ...suffixes] = text.split('/');
  const rest = parseSuffixes(text, suffixes);
  const words = splitWords(text, ends);
  const hostIps = isPorts(words[0]) ? undefined : parseHostIp(text, words.shift());
  const host = parsePorts(text, 'the host port', words.shift(), 0);
  const hostEnd = { ...rest, ...(hostIps && { hostIps }), host };
  if (words.length === 0) return hostEnd;
  const guestIp = isPorts(words[0]) ? GUEST_LOCALHOST : parseGuestIp(text, words.shift());
  const guest = parsePorts(text, 'the guest port', words.shift(), 1);
  if (words.length > 0) throw bad(text, `":${words.join(':')}" is too much`);
  return { ...hostEnd, guestIp, guest };
}

/** The protocol, and after it what is asked for beside: `/tcp/proxy=v2`. */
function parseSuffixes(text: string, [protocol = 'tcp', ...more]: string[]): PortParts {
  // The protocol may be left out.
  if (protocol.includes('=')) return parseSuffixes(text, ['tcp', protocol, ...more]);
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw bad(text, `"${protocol}" is no protocol that can be forwarded`);
  const parts: PortParts = { proto: protocol };
  for (const suffix of more) {
    const [, key, value = ''] = /^(proxy|idle)=(.*)$/.exec(suffix) ?? [];
    if (key === 'proxy') parts.proxyProtocol = parseProxyProtocol(text, protocol, value);
    else if (key === 'idle') parts.idleSeconds = parseIdleSeconds(text, protocol, value);
    else throw bad(text, `"/${suffix}" is neither /proxy=v1, /proxy=v2 nor /idle=SECONDS`);
  }
  return parts;
}

function parseProxyProtocol(text: string, protocol: PortRule['proto'], value: string): 1 | 2 {
  if (protocol !== 'tcp') throw bad(text, '/proxy is for tcp only');
  if (value !== 'v1' && value !== 'v2') throw bad(text, `/proxy is v1 or v2, not "${value}"`);
  return value === 'v1' ? 1 : 2;
}

function parseIdleSeconds(text: string, protocol: PortRule['proto'], value: string): number {
  if (protocol !== 'udp') throw bad(text, '/idle is for udp only');
  if (!isIdleSeconds(Number(value)))
    throw bad(text, `/idle is a number of seconds from 1 to ${MAX_IDLE_SECONDS}, not "${value}"`);
  return Number(value);
}

/** Splits at colons outside brackets. */
function splitWords(text: string, ends: string): string[] {
  const words = ends.match(/(\[[^\]]*\]|[^:[\]])+|(?<=^|:)(?=:|$)/g) ?? [];
  if (words.join(':') !== ends) throw bad(text, 'the brackets do not match');
  if (words.length > 4)
    throw bad(text, 'there are too many colons; an IPv6 address stands in brackets, such as [::1]:8080');
  return words;
}

function isPorts(word: string | undefined): boolean {
  return word !== undefined && /^\d+(-\d+)?$/.test(word);
}

function parsePorts(text: string, what: string, word: string | undefined, least: number): PortRange {
  if (word === undefined) throw bad(text, `${what} is missing`);
  if (!isPorts(word)) throw bad(text, `${what} is "${word}", which is neither a port nor a range of ports`);
  const [first = 0, last = first] = word.split('-').map(Number);
  if (last > MAX_PORT || first > MAX_PORT) throw bad(text, `${what} is above ${MAX_PORT}`);
  if (last < first) throw bad(text, `${what} range "${word}" ends before it begins`);
  if (first < least || (first === 0 && last > 0)) throw bad(text, `${what} cannot be 0 here`);
  return { first, last };
}

function parseHostIp(text: string, word: string | undefined): string[] {
  if (word === 'localhost') return [...LOCALHOST];
  if (word === '*') return [...EVERY_ADDRESS];
  const ip = parseIp(text, word, 'the host address');
  if (lacksZone(ip))
    throw bad(text, `${ip} is an address of one link, and needs the interface, such as [${ip}%eth0]`);
  return [ip];
}

function parseGuestIp(text: string, word: string | undefined): string {
  if (word === 'localhost') return GUEST_LOCALHOST;
  const ip = parseIp(text, word, 'the guest address');
  if (ip.includes('%')) throw bad(text, `the guest address ${ip} has a zone, which only the host's can have`);
  if (lacksZone(ip))
    throw bad(
      text,
      `the guest address ${ip} is one of a link, which the guest can't dial: choose another one`,
    );
  return ip;
}

function parseIp(text: string, word = '', what: string): string {
  const bracketed = word.startsWith('[') && word.endsWith(']');
  const ip = canonicalIp(bracketed ? word.slice(1, -1) : word);
  if (ip !== undefined && bracketed === word.includes(':')) return ip;
  throw bad(text, `${what} "${word}" is neither a literal IP address nor localhost`);
}

function parseUnixParts(text: string): Parts {
  const [hostPath = '', guestPath, ...more] = text.slice('unix:'.length).split(':');
  if (more.length > 0) throw bad(text, 'there are too many colons', UNIX_SPEC_FORM);
  const paths = guestPath === undefined ? [hostPath] : [hostPath, guestPath];
  for (const path of paths) {
    const problem = problemOfPath(path);
    if (problem) throw bad(text, problem, UNIX_SPEC_FORM);
  }
  return guestPath === undefined ? { proto: 'unix', hostPath } : { proto: 'unix', hostPath, guestPath };
}

/** What is wrong with a socket's path, if something is. One that is not absolute would name a service. */
export function problemOfPath(path: string): string | undefined {
  if (!path.startsWith('/') || path.includes('\0')) return `the path "${path}" is not absolute`;
  const length = Buffer.byteLength(path);
  return length > MAX_PATH_BYTES
    ? `a path has ${length} bytes, at most ${MAX_PATH_BYTES} are allowed`
    : undefined;
}

function portsOf({ first, last }: PortRange): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function count({ first, last }: PortRange): string {
  return last === first ? '1 port' : `${last - first + 1} ports`;
}

function bad(text: string, problem: string, form = SPEC_FORM): UsageError {
  return new UsageError(`cannot forward "${text}": ${problem}; the form is ${form}`);
}
