import type { Condition, NetfilterRule, RuleMatch } from './netfilter-rule.js';

/** What iptables-nft keeps in tables of its own, which it shows itself. */
const OF_IPTABLES = /^(ip|ip6) (nat|filter|mangle|raw|security)$/;

/** Those that decide about packets; all others are left out. */
const TARGETS: readonly [pattern: RegExp, target: string][] = [
  [/\bdnat\b.* to /, 'DNAT'],
  [/\breject\b/, 'REJECT'],
  [/\bdrop\b/, 'DROP'],
];

/**
 * The rules in the output of `nft list ruleset` (nft(8)) that lead packets elsewhere, or stop them. A rule that
 * says in another way than by one port or address which packets it is for counts as one for all of them.
 */
export function parseNftRuleset(output: string): NetfilterRule[] {
  const rules: NetfilterRule[] = [];
  let table = '';
  let chain = '';
  for (const line of output.split('\n').map((line) => line.trim())) {
    const [, kind, name = ''] = /^(table|chain) (.+) \{$/.exec(line) ?? [];
    if (kind === 'table') table = name;
    if (kind === 'chain') chain = name;
    const target = TARGETS.find(([pattern]) => pattern.test(line))?.[1];
    // `type filter hook forward priority 0; policy drop;` is no rule.
    if (kind !== undefined || target === undefined || line.startsWith('type ') || OF_IPTABLES.test(table))
      continue;
    const packets = Number(/counter packets (\d+)/.exec(line)?.[1] ?? 0);
    const kindOfTable = target === 'DNAT' ? 'nat' : 'filter';
    rules.push({
      table: kindOfTable,
      chain: `${table} ${chain}`,
      packets,
      text: line,
      target,
      match: readMatch(line),
    });
  }
  return rules;
}

function readMatch(line: string): RuleMatch {
  const match: RuleMatch = {};
  // Neither of a range, 10.0.0.1-10.0.0.9, nor of a concatenation, `ip daddr . tcp dport`, is a part the whole.
  const destination = conditionIn(/\bip6? daddr (!= )?(\w[\w.:/]*|::[\w.:/]*)(?![-\w.:/])/, line);
  if (destination) match.destination = destination;
  const port = conditionIn(/\bdport (!= )?(\d+(?:-\d+)?)\b/, line);
  if (port) match.destinationPort = { ...port, value: port.value.replace('-', ':') };
  const proto = conditionIn(/\b()(tcp|udp) dport\b/, line);
  if (proto) match.proto = proto;
  const to = /\bdnat\b.*? to ([\w.:[\]]+)/.exec(line)?.[1];
  if (to !== undefined) match.to = to;
  return match;
}

function conditionIn(pattern: RegExp, line: string): Condition | undefined {
  const [, not = '', value] = pattern.exec(line) ?? [];
  return value === undefined ? undefined : { value, not: not !== '' };
}
