import type { Claim } from '../../../host/forwards/claim.js';
import type { Forward } from '../../../host/forwards/forward.js';
import { type ForwardRule, formatRule } from '../../../host/rule/forward-rule.js';
import { ruleFromVpnkit } from '../../../host/rule/vpnkit-rule.js';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import type { ControlHost } from './ends.js';
import type { Machine } from './machine.js';
import type { Publisher } from './publisher.js';
import type { User } from './user.js';

/** All who have forwards, or want them. */
export interface Parties {
  readonly host: ControlHost;
  readonly machine: Machine;
  readonly publishers: readonly Publisher[];
  readonly user: User;
  readonly statics: readonly ForwardRule[];
}

/** @returns where somebody in the guest, the user and the host do not believe the same; undefined when they do */
export function disagreement(parties: Parties): string | undefined {
  const { host, publishers } = parties;
  const leases = [...host.leases.live];
  for (const publisher of publishers) {
    const { name } = publisher;
    const own = leases.filter((lease) => lease.publisher === name);
    if (own.length !== (publisher.used ? 1 : 0)) return `${name} has ${own.length} leases`;
    const wrong = own.map(({ claims }) => compare(publisher, claims)).find((text) => text !== undefined);
    if (wrong !== undefined) return wrong;
  }
  const orphan = leases.find((lease) => !publishers.some(({ name }) => name === lease.publisher));
  if (orphan) return `the host has a lease of ${orphan.publisher}, who is not there`;
  for (const { claims } of leases)
    for (const claim of claims) {
      const problem = problemOf(claim, parties);
      if (problem !== undefined) return problem;
    }
  return problemOfOwn(parties) ?? problemOfTable(parties);
}

/** @returns what the table of forwards and the machine do not agree upon, where nothing is under way */
export function problemOfTable({ host, machine, statics }: Parties): string | undefined {
  const { table, leases, process } = host;
  const forwards = table.list();
  const listed = forwards.flatMap(({ addresses }) => addresses).sort();
  const bound = machine.socketsOf(process).map(addressOf).sort();
  if (listed.join() !== bound.join())
    return `the table has ${listed.join() || 'nothing'}, and the process listens on ${bound.join() || 'nothing'}`;
  if (new Set(forwards.map(({ rule }) => formatRule(rule))).size !== forwards.length)
    return `a forward is held twice: ${listed.join()}`;
  if (host.descriptors !== bound.length)
    return `${bound.length} sockets are bound, and ${host.descriptors} are counted`;
  const orphan = forwards.find(({ origin, publisher }) => origin === 'published' && publisher === undefined);
  if (orphan) return `nobody wants ${orphan.id}, which is listened on`;
  const used = [...leases.live].reduce((sum, { size }) => sum + size, 0);
  if (leases.used !== used) return `${used} forwards are leased, and ${leases.used} are counted`;
  if (!host.ready) return undefined;
  const lost = statics.find((rule) => !has(forwards, rule));
  return lost && `the static forward ${formatRule(lost)} is lost`;
}

function addressOf({ ip, port }: { ip: string; port: number }): string {
  if (port === 0) return ip;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function compare({ name, kind, held }: Publisher, claims: readonly Claim[]): string | undefined {
  const wanted = held.map(keyOf).sort();
  // Who asks is told the port that was chosen, and names it from then on.
  const there = claims.map((claim) => formatRule(kind === 'asks' ? claim.rule : claim.asked)).sort();
  if (wanted.join() === there.join()) return undefined;
  return `${name} wants ${wanted.join() || 'nothing'}, and the host knows of ${there.join() || 'nothing'}`;
}

/** As the host calls a forward that a guest has named. */
export function keyOf(forward: VpnkitPort): string {
  return formatRule(ruleFromVpnkit(forward));
}

/** A forward is listened on, or there is a reason, and that is true. */
function problemOf({ asked, state, reason, forward }: Claim, parties: Parties): string | undefined {
  const { host, machine } = parties;
  const name = formatRule(asked);
  if (forward) return host.table.list().includes(forward) ? undefined : `${name} is in no table`;
  if (reason.message === '' || reason.message === 'the host is stopping')
    return `${name} has ${state} without a reason`;
  if (state === 'refused') {
    const known = ['EACCES', 'EMFILE', 'ECANCELED'].includes(reason.code ?? '');
    return known ? undefined : `${name} is refused for no reason that there is: ${reason.message}`;
  }
  const inTheWay = endsOf(asked).some(([ip, port]) => machine.holderOf(ip, port));
  return inTheWay ? undefined : `nothing is in the way of ${name}, which waits: ${reason.message}`;
}

function endsOf(rule: ForwardRule): [string, number][] {
  return rule.proto === 'unix' ? [[rule.hostPath, 0]] : rule.hostIps.map((ip) => [ip, rule.hostPort]);
}

/** What the user wants is listened on, or shown as missing. */
function problemOfOwn({ host, user, machine }: Parties): string | undefined {
  if (!host.ready) return 'the host has not started';
  const kept = host.table.kept().map(formatRule).sort();
  const wanted = [...user.wanted.keys()].sort();
  if (kept.join() !== wanted.join())
    return `the user wants ${wanted.join() || 'nothing'}, and the host keeps ${kept.join() || 'nothing'}`;
  const forwards = host.table.list();
  for (const [key, rule] of user.wanted) {
    if (has(forwards, rule)) continue;
    const shown = host.table.missing().some(({ asked }) => formatRule(asked) === key);
    if (!shown) return `the user's ${key} is neither listened on nor missing`;
    if (!endsOf(rule).some(([ip, port]) => machine.holderOf(ip, port)))
      return `nothing is in the way of the user's ${key}, which waits`;
  }
  return undefined;
}

function has(forwards: readonly Forward[], rule: ForwardRule): boolean {
  return forwards.some((forward) => formatRule(forward.rule) === formatRule(rule));
}
