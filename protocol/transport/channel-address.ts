import net from 'node:net';
import { UsageError } from '../errors.js';
import { isLoopback } from '../socket/loopback.js';

/** Where a channel is to be found, or to be awaited. */
export type ChannelAddress =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number }
  /** hyperkit's vsock device: sockets in `dir`; `port` is a vsock port. */
  | { kind: 'hyperkit'; dir: string; port: number }
  /** The vsock device of Firecracker and cloud-hypervisor: a socket at `path`; `port` is a vsock port. */
  | { kind: 'firecracker'; path: string; port: number };

/** What parseAddress may be lenient about. */
export interface ParseAddressOptions {
  /** Take tcp addresses that are not loopback: whoever reaches them can open streams. Default: false. */
  allowRemote?: boolean;
}

const FORMS = {
  unix: 'unix:PATH',
  tcp: 'tcp:HOST:PORT',
  hyperkit: 'hyperkit:DIR:PORT',
  firecracker: 'firecracker:PATH:PORT',
};
const ALL_FORMS = Object.values(FORMS).join(', ');
const LATER_KINDS = ['vsock', 'virtserial'];

/** The OS: a TCP port is u16. */
const MAX_TCP_PORT = 0xffff;
/** The OS: a vsock port is u32, and the last one means "any". */
const MAX_VSOCK_PORT = 0xffff_fffe;

/**
 * Reads a channel address: `unix:PATH`, `tcp:HOST:PORT` (port 0: one that is free, for listening),
 * `hyperkit:DIR:PORT` or `firecracker:PATH:PORT` (vsock ports, decimal or 0x and hexadecimal).
 * @throws UsageError with one line that quotes the text, says what is wrong and how it should look
 */
export function parseAddress(text: string, options: ParseAddressOptions = {}): ChannelAddress {
  const colon = text.indexOf(':');
  const kind = colon < 0 ? '' : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (kind === 'unix') return { kind, path: pathOf(text, rest, FORMS.unix) };
  if (kind === 'tcp') return tcpAddress(text, rest, options.allowRemote ?? false);
  if (kind === 'hyperkit') {
    const [dir, port] = splitPort(text, rest, FORMS.hyperkit);
    return { kind, dir: pathOf(text, dir, FORMS.hyperkit), port: vsockPort(text, port, FORMS.hyperkit) };
  }
  if (kind === 'firecracker') {
    const [path, port] = splitPort(text, rest, FORMS.firecracker);
    return {
      kind,
      path: pathOf(text, path, FORMS.firecracker),
      port: vsockPort(text, port, FORMS.firecracker),
    };
  }
  if (LATER_KINDS.includes(kind)) refuse(text, `this version has no ${kind} channels; it has ${ALL_FORMS}`);
  return refuse(text, `its kind is not known; the forms are ${ALL_FORMS}`);
}

/** The address as text that parseAddress reads. */
export function formatAddress(address: ChannelAddress): string {
  switch (address.kind) {
    case 'unix':
      return `unix:${address.path}`;
    case 'tcp':
      return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'hyperkit':
      return `hyperkit:${address.dir}:${address.port}`;
    case 'firecracker':
      return `firecracker:${address.path}:${address.port}`;
  }
}

function refuse(text: string, why: string): never {
  throw new UsageError(`${JSON.stringify(text)} is not a channel address: ${why}`);
}

function tcpAddress(text: string, rest: string, allowRemote: boolean): ChannelAddress {
  const [hostText, portText] = splitPort(text, rest, FORMS.tcp);
  const host = tcpHost(text, hostText);
  if (!allowRemote && !isLoopback(host)) {
    refuse(
      text,
      `${host} is not loopback, and a tcp channel has no password; use 127.0.0.1, [::1] or localhost`,
    );
  }
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : Number.NaN;
  if (!(port <= MAX_TCP_PORT)) {
    refuse(text, `the port must be a number from 0 to ${MAX_TCP_PORT}; the form is ${FORMS.tcp}`);
  }
  return { kind: 'tcp', host, port };
}

function tcpHost(text: string, hostText: string): string {
  if (hostText === 'localhost') return '127.0.0.1';
  if (net.isIPv4(hostText)) return hostText;
  const inner = /^\[(.*)\]$/.exec(hostText)?.[1];
  if (inner !== undefined && net.isIPv6(inner)) return inner;
  if (net.isIPv6(hostText)) refuse(text, `an IPv6 address is written in brackets: tcp:[${hostText}]:PORT`);
  return refuse(
    text,
    `the host must be an IP address or localhost; the form is ${FORMS.tcp}, such as tcp:127.0.0.1:7000`,
  );
}

/** Splits at the last colon, since a path may have colons too. */
function splitPort(text: string, rest: string, form: string): [string, string] {
  const colon = rest.lastIndexOf(':');
  if (colon < 0) refuse(text, `the port is missing; the form is ${form}`);
  return [rest.slice(0, colon), rest.slice(colon + 1)];
}

function pathOf(text: string, path: string, form: string): string {
  if (path === '') refuse(text, `the path is missing; the form is ${form}`);
  if (path.includes('\0')) refuse(text, 'no path can have a NUL byte');
  return path;
}

function vsockPort(text: string, portText: string, form: string): number {
  const port = /^(\d+|0[xX][0-9a-fA-F]+)$/.test(portText) ? Number(portText) : Number.NaN;
  if (!(port >= 1 && port <= MAX_VSOCK_PORT)) {
    refuse(
      text,
      `the vsock port must be a number from 1 to ${MAX_VSOCK_PORT}, decimal or 0x and hexadecimal; ` +
        `the form is ${form}`,
    );
  }
  return port;
}
