import { containerOn, wayOf } from '../diagnose/evidence.js';
import { describeProcess, type Hop, hopsOf } from '../diagnose/hops.js';
import { otherForwarder } from '../diagnose/other-forwarder.js';
import type { PathReport } from '../diagnose/path.js';

/** As wide as the longest name of a hop. */
const NAME_WIDTH = 'container'.length;

/** What a mark means, and is said below a picture that has it. */
const LEGEND = {
  '○': 'beside the way',
  '?': 'cannot be seen',
  '✗': 'not there',
} as const;

type Mark = '●' | keyof typeof LEGEND;

/** In the order in which a connection passes them: the container encloses its server. */
const IN_VM = ['guest', 'firewall', 'DNAT', 'network'];

/**
 * The way of a port as a picture for a terminal: this host, the guest's machine and the container, one inside the
 * other, and what a connection passes in each. Without colours, so that it can be sent to somebody.
 */
export function drawPath(path: PathReport): string {
  const hops = new Map(hopsOf(path).map((hop) => [hop.name, hop]));
  const aside = hopsAside(path);
  const used = new Set<Mark>();
  const line = (rail: string, hop: Hop, text = hop.text): string => {
    const mark = markOf(hop, path, aside);
    used.add(mark);
    return `${rail}${mark} ${hop.name.padEnd(NAME_WIDTH)}  ${text}`;
  };
  const some = (names: readonly string[]): Hop[] => names.flatMap((name) => hops.get(name) ?? []);
  const { title, prefix } = titleOf(path);
  const lines = [
    `    client, to ${path.asked}`,
    '    │',
    '┌───▼ this host',
    ...some(['host', 'forward']).map((hop) => line('│   ', hop)),
    '└───┬',
    ...carrier(path),
    ...some(['channel']).map((hop) => line('    ', hop)),
    '    │',
    `┌───▼ ${title}`,
    ...some(IN_VM).map((hop) => line('│   ', hop, hop.text.replace(prefix, ''))),
    ...drawContainer(path, some(['container', 'server']), line),
    '└────',
  ];
  const legend = Object.entries(LEGEND)
    .filter(([mark]) => used.has(mark as Mark))
    .map(([mark, meaning]) => `${mark} ${meaning}`);
  return [...lines, ...(legend.length > 0 ? [legend.join('   ')] : []), ''].join('\n');
}

function titleOf({ guest }: PathReport): { title: string; prefix: string } {
  if (!('found' in guest)) return { title: 'the machine of the guest', prefix: '' };
  const { hostname, kernel } = guest.found.machine;
  const where = `${hostname} (Linux ${kernel})`;
  return { title: `the machine of the guest: ${where}`, prefix: `${where}: ` };
}

function drawContainer(
  path: PathReport,
  hops: readonly Hop[],
  line: (rail: string, hop: Hop) => string,
): string[] {
  const [container, server] = hops;
  if (!container || !server) return hops.map((hop) => line('│   ', hop));
  const frame = containerOn(path)?.state === 'running' ? '┌─▼' : '┌─✗';
  return [`│ ${frame} ${container.text}`, line('│ │ ', server), '│ └──'];
}

/** Who brings a connection into the machine of the guest, where that is not the channel. */
function carrier(path: PathReport): string[] {
  const other = otherForwarder(path);
  return other ? [`    ┊ ${describeProcess(other)} carries it there`] : [];
}

/** The hops that a connection does not pass. */
function hopsAside(path: PathReport): string[] {
  const [forward] = path.forwards;
  if (otherForwarder(path)) return ['forward', 'channel'];
  const container = containerOn(path);
  // The guest dials the container itself, past what the engine has put before it.
  return forward?.in_ip !== undefined && container?.addresses.includes(forward.in_ip)
    ? ['guest', 'DNAT']
    : [];
}

function markOf({ name, seen, works }: Hop, path: PathReport, aside: readonly string[]): Mark {
  if (!seen) return '?';
  if (aside.includes(name)) return '○';
  if (works === false || isEmpty(name, path)) return '✗';
  return '●';
}

/** Whether it could be seen that there is nobody. */
function isEmpty(name: string, path: PathReport): boolean {
  const way = wayOf(path);
  const findings: Partial<Record<string, PathReport['listeners']>> = {
    host: path.listeners,
    server: way?.inside,
    ...(containerOn(path) ? {} : { guest: way?.listeners }),
  };
  const finding = findings[name];
  if (name === 'channel') return path.channel.state === 'waiting';
  return finding !== undefined && 'found' in finding && finding.found.length === 0;
}
