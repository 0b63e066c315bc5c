import { UsageError } from '../../protocol/errors.js';
import { LINKTYPE_FRAMES } from './frame-packet.js';
import { LIMITS } from './limits.js';
import { forWhom } from './naming.js';
import { LINKTYPE_RAW } from './packet.js';

/** What Wireshark asks an extcap program (its manual page extcap(4)). */
export type ExtcapQuestion =
  | { kind: 'interfaces' }
  | { kind: 'dlts' | 'config'; interface: string }
  | { kind: 'capture'; interface: string; fifo: string; limits: Record<string, string> };

/** A forward as Wireshark lists it. */
export interface ExtcapInterface {
  /** What Wireshark and `tshark -i` call it. */
  name: string;
  display: string;
  /** The SPEC of the forward; without it the interface shows frames. */
  of: string | undefined;
}

/** The forwards' part of what `portferry list` knows. */
export interface ListedForward {
  id: string;
  destination: string;
  annotation?: string;
  container?: string;
  container_id?: string;
}

const FRAMES: ExtcapInterface = {
  name: 'portferry-frames',
  display: 'portferry: frames of the channel between host and guest',
  of: undefined,
};

/** Limits that Wireshark asks its user for, by their option. */
const ASKED = [
  ['snaplen', 'Bytes kept of each packet', LIMITS.snapLength],
  ['duration', 'Seconds until it ends', LIMITS.seconds],
  ['max-bytes', 'Bytes until it ends', LIMITS.maxBytes],
] as const;

/**
 * Reads what Wireshark says. What is not known is of a newer one, and ignored.
 * @throws UsageError
 */
export function readExtcapQuestion(args: readonly string[]): ExtcapQuestion {
  const given = readArguments(args);
  if (given.has('extcap-interfaces')) return { kind: 'interfaces' };
  const of = given.get('extcap-interface');
  const asked = ['extcap-dlts', 'extcap-config', 'capture'].find((name) => given.has(name));
  if (!of || asked === undefined)
    throw new UsageError(
      '--extcap is for Wireshark, which says behind -- what it wants: --extcap-interfaces, say',
    );
  if (asked !== 'capture') return { kind: asked === 'extcap-dlts' ? 'dlts' : 'config', interface: of };
  const fifo = given.get('fifo');
  if (!fifo) throw new UsageError('--capture needs --fifo PATH');
  const limits = ASKED.flatMap(([name]) => {
    const value = given.get(name);
    return value ? [[name, value] as const] : [];
  });
  return { kind: 'capture', interface: of, fifo, limits: Object.fromEntries(limits) };
}

/** What is listed, each under a name of its own. @param forwards undefined while there is no host */
export function extcapInterfaces(forwards: readonly ListedForward[] | undefined): ExtcapInterface[] {
  if (!forwards) {
    const display = "portferry: no host is running, start it with 'portferry host'";
    return [{ ...FRAMES, name: 'portferry', display }];
  }
  const uniqueName = uniqueNames(FRAMES.name);
  const listed = forwards.map(({ id, destination, container_id: containerId, ...note }) => {
    const name = uniqueName(nameOf(id));
    const whom = forWhom({ ...note, ...(containerId !== undefined && { containerId }) });
    return { name, display: `portferry: ${id} → ${destination}${whom}`, of: specOf(id) };
  });
  return [...listed, FRAMES];
}

/** The answer to all but a capture. */
export function answerExtcap(
  question: ExtcapQuestion,
  interfaces: readonly ExtcapInterface[],
  version: string,
): string {
  switch (question.kind) {
    case 'interfaces':
      return lines([
        `extcap {version=${version}}{help=https://www.wireshark.org/docs/man-pages/extcap.html}`,
        ...interfaces.map(({ name, display }) => `interface {value=${name}}{display=${plain(display)}}`),
      ]);
    case 'dlts':
      return question.interface === FRAMES.name
        ? `dlt {number=${LINKTYPE_FRAMES}}{name=USER7}{display=portferry frames}\n`
        : `dlt {number=${LINKTYPE_RAW}}{name=RAW}{display=Raw IP}\n`;
    default:
      return lines(
        ASKED.map(
          ([name, display, { min, max, default: usual }], number) =>
            `arg {number=${number}}{call=--${name}}{display=${display}}{type=long}{range=${Math.ceil(min)},${max}}{default=${usual}}`,
        ),
      );
  }
}

// ---- inside ------------------------------------------------------------------------------------------

function readArguments(args: readonly string[]): Map<string, string> {
  const given = new Map<string, string>();
  for (const [index, arg] of args.entries()) {
    const [, name, value] = /^--([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) continue;
    const next = args[index + 1];
    given.set(name, value ?? (next?.startsWith('--') ? '' : (next ?? '')));
  }
  return given;
}

/** `portferry-8080`, `portferry-53-udp`, `portferry-10.0.0.1-80`: what a shell and Wireshark take without quotes. */
function nameOf(id: string): string {
  const { proto, end } = partsOf(id);
  const short = end.replace(/^localhost:/, '').replace(/^\*:/, 'any-');
  const parts = proto === 'unix' ? ['unix', end] : proto === 'udp' ? [short, 'udp'] : [short];
  const name = parts
    .join('-')
    .replace(/[^A-Za-z0-9.]+/g, '-')
    .replace(/^-|-$/g, '');
  return `portferry-${name}`;
}

/** Of the id of a forward: its protocol, and the host's end. */
function partsOf(id: string): { proto: string; end: string } {
  const at = id.indexOf(' ');
  return { proto: id.slice(0, at), end: id.slice(at + 1) };
}

/** Makes names different from each other, and from one that there is: by a number at their end. */
function uniqueNames(first: string): (name: string) => string {
  const taken = new Set([first]);
  /** By name: numbers below are taken. A guest can have thousands of sockets whose names come out the same. */
  const free = new Map<string, number>();
  return (name) => {
    let unique = name;
    let number = free.get(name) ?? 2;
    while (taken.has(unique)) unique = `${name}-${number++}`;
    free.set(name, number);
    taken.add(unique);
    return unique;
  };
}

/** The SPEC that means the forward of this id: `localhost:8080` is what `127.0.0.1:8080` means there. */
function specOf(id: string): string {
  const { proto, end } = partsOf(id);
  if (proto === 'unix') return `unix:${end}`;
  // Of several addresses, one is enough.
  return `${end.replace(/,.*$/s, '')}/${proto}`;
}

/** Braces are Wireshark's. */
function plain(text: string): string {
  return text.replace(/[{}\n]/g, ' ');
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}
