import net from 'node:net';
import { split } from 'shlex';
import { UsageError } from '../errors.js';
import { isLoopback } from '../socket/loopback.js';

/** Where a channel is to be found, or to be awaited. */
export type ChannelAddress =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number }
  /** AF_VSOCK of Linux. `cid` is the other machine's: the host's where none was given to connect to, anybody's to listen for. */
  | { kind: 'vsock'; cid: number | undefined; port: number }
  /** A line with two ends: a virtio-serial port of this VM, or the socket that QEMU has for one. */
  | { kind: 'virtserial'; path: string }
  /** hyperkit's vsock device: sockets in `dir`; `port` is a vsock port. */
  | { kind: 'hyperkit'; dir: string; port: number }
  /** The vsock device of Firecracker and cloud-hypervisor: a socket at `path`; `port` is a vsock port. */
  | { kind: 'firecracker'; path: string; port: number }
  /** A command whose standard input and output are the channel; `text` is what it was split from. */
  | { kind: 'exec'; command: ExecCommand; text: string }
  /** This process's own standard input and output: what an `exec:` at the other end has started. */
  | { kind: 'stdio' };

/** A program, by its path or its name on the PATH, and its arguments. */
export type ExecCommand = readonly [file: string, ...args: string[]];

/** Which of the two ends connects is a matter of the VM, not of host or guest. */
export type ChannelMode = 'connect' | 'listen';

/** What parseAddress may be lenient about. */
export interface ParseAddressOptions {
  /** Take tcp addresses that are not loopback: whoever reaches them can open streams. Default: false. */
  allowRemote?: boolean;
}

const FORMS = {
  unix: 'unix:PATH',
  tcp: 'tcp:HOST:PORT',
  vsock: 'vsock:[CID:]PORT',
  virtserial: 'virtserial:PATH',
  hyperkit: 'hyperkit:DIR:PORT',
  firecracker: 'firecracker:PATH:PORT',
  exec: 'exec:COMMAND',
  stdio: 'stdio:',
};
/** Every form of an ADDR, for help and messages. */
export const ALL_FORMS = Object.values(FORMS).join(', ');

/** The OS: a TCP port is u16. */
const MAX_TCP_PORT = 0xffff;
/** The OS: a vsock port is u32, and the last one means "any". */
const MAX_VSOCK_PORT = 0xffff_fffe;
/** The OS: a CID, which is a machine's number, is u32; the last one means "any", and 0 is the hypervisor's own. */
const MAX_CID = 0xffff_fffe;

/**
 * Reads a channel address: `unix:PATH`, `tcp:HOST:PORT` (port 0: one that is free, for listening),
 * `vsock:PORT`, `vsock:CID:PORT`, `hyperkit:DIR:PORT` or `firecracker:PATH:PORT` (vsock ports, decimal or 0x and
 * hexadecimal), `virtserial:PATH`, `exec:COMMAND` or `stdio:`.
 * @throws UsageError with one line that quotes the text, says what is wrong and how it should look
 */
export function parseAddress(text: string, options: ParseAddressOptions = {}): ChannelAddress {
  const colon = text.indexOf(':');
  const kind = colon < 0 ? '' : text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (kind === 'unix') return { kind, path: pathOf(text, rest, FORMS.unix) };
  if (kind === 'tcp') return tcpAddress(text, rest, options.allowRemote ?? false);
  if (kind === 'virtserial') return { kind, path: pathOf(text, rest, FORMS.virtserial) };
  if (kind === 'vsock') return vsockAddress(text, rest);
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
  if (kind === 'exec') return { kind, command: execCommand(text, rest), text: rest };
  if (kind === 'stdio') {
    if (rest !== '') refuse(text, `nothing follows ${FORMS.stdio}`);
    return { kind };
  }
  return refuse(text, `its kind is not known; the forms are ${ALL_FORMS}`);
}

/** For logs and reports: what follows a command's name may hold secrets. */
export function describeAddress(address: ChannelAddress): string {
  if (address.kind !== 'exec') return formatAddress(address);
  const [file, ...args] = address.command;
  return `exec:${file}${args.length === 0 ? '' : ' …'}`;
}

/** The address as text that parseAddress reads. */
export function formatAddress(address: ChannelAddress): string {
  switch (address.kind) {
    case 'unix':
      return `unix:${address.path}`;
    case 'tcp':
      return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'vsock':
      return address.cid === undefined ? `vsock:${address.port}` : `vsock:${address.cid}:${address.port}`;
    case 'virtserial':
      return `virtserial:${address.path}`;
    case 'hyperkit':
      return `hyperkit:${address.dir}:${address.port}`;
    case 'firecracker':
      return `firecracker:${address.path}:${address.port}`;
    case 'exec':
      return `exec:${address.text}`;
    case 'stdio':
      return 'stdio:';
  }
}

/**
 * Holds an address against what is to be done with it.
 * @throws UsageError when it can only be listened on, or only be connected to
 */
export function checkMode(address: ChannelAddress, mode: ChannelMode): void {
  if (mode === 'connect' && address.kind === 'tcp' && address.port === 0)
    throw new UsageError(`cannot connect to "${formatAddress(address)}": port 0 is for listening only`);
  if (mode === 'listen' && ['exec', 'stdio', 'virtserial'].includes(address.kind)) refuseToListen(address);
}

/** @throws UsageError always */
export function refuseToListen(address: ChannelAddress): never {
  throw new UsageError(
    `cannot listen on "${formatAddress(address)}": nobody connects there by itself; it is for --connect`,
  );
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

function vsockAddress(text: string, rest: string): ChannelAddress {
  const [cidText, portText] = rest.includes(':') ? splitPort(text, rest, FORMS.vsock) : [undefined, rest];
  const port = vsockPort(text, portText, FORMS.vsock);
  const cid = cidText === undefined ? undefined : vsockNumber(cidText);
  if (cid !== undefined && !(cid >= 1 && cid <= MAX_CID))
    refuse(
      text,
      `the CID, which is a machine's number, must be from 1 to ${MAX_CID}; 2 is the host, 1 this machine itself`,
    );
  return { kind: 'vsock', cid, port };
}

/** Splits at the last colon, since a path may have colons too. */
function splitPort(text: string, rest: string, form: string): [string, string] {
  const colon = rest.lastIndexOf(':');
  if (colon < 0) refuse(text, `the port is missing; the form is ${form}`);
  return [rest.slice(0, colon), rest.slice(colon + 1)];
}

/** Split as a shell splits words, quotes and backslashes included; nothing else that a shell does is done. */
function execCommand(text: string, rest: string): ExecCommand {
  const [file, ...args] = wordsOf(text, rest);
  if (file === undefined || file === '') refuse(text, `the command is missing; the form is ${FORMS.exec}`);
  if ([file, ...args].some((word) => word.includes('\0'))) refuse(text, 'no command can have a NUL byte');
  return [file, ...args];
}

function wordsOf(text: string, command: string): string[] {
  try {
    return split(command);
  } catch {
    return refuse(text, 'a quote or a backslash in it lacks its end');
  }
}

function pathOf(text: string, path: string, form: string): string {
  if (path === '') refuse(text, `the path is missing; the form is ${form}`);
  if (path.includes('\0')) refuse(text, 'no path can have a NUL byte');
  return path;
}

function vsockPort(text: string, portText: string, form: string): number {
  const port = vsockNumber(portText);
  if (!(port >= 1 && port <= MAX_VSOCK_PORT)) {
    refuse(
      text,
      `the vsock port must be a number from 1 to ${MAX_VSOCK_PORT}, decimal or 0x and hexadecimal; ` +
        `the form is ${form}`,
    );
  }
  return port;
}

function vsockNumber(text: string): number {
  return /^(\d+|0[xX][0-9a-fA-F]+)$/.test(text) ? Number(text) : Number.NaN;
}
