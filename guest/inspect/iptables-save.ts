/** A rule as iptables-save writes it with -c: `[3:180] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 …`. */
export interface IptablesRule {
  table: string;
  chain: string;
  /** What it has matched so far; since the kernel sees connections in nat, only the first packet of each. */
  packets: number;
  /** The rule without its counters and chain. */
  text: string;
  /** The target: `DNAT`, `DROP`, a chain. */
  target: string;
  match: RuleMatch;
}

/** What of a rule says which packets it is for; a value with `not` is for all others. */
export interface RuleMatch {
  destination?: Condition;
  destinationPort?: Condition;
  proto?: Condition;
  /** DNAT's `--to-destination`. */
  to?: string;
}

export interface Condition {
  value: string;
  not: boolean;
}

const FLAGS: { readonly [flag: string]: Exclude<keyof RuleMatch, 'to'> } = {
  '-d': 'destination',
  '--dport': 'destinationPort',
  '-p': 'proto',
};

/** The rules in the output of `iptables-save -c`, or of ip6tables-save; what is no rule is left out. */
export function parseIptablesSave(output: string): IptablesRule[] {
  const rules: IptablesRule[] = [];
  let table = '';
  for (const line of output.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const [, packets, chain, text] = /^\[(\d+):\d+\] -A (\S+) (.*)$/.exec(line) ?? [];
    if (chain === undefined || text === undefined) continue;
    const { target, match } = readRule(text.split(' '));
    rules.push({ table, chain, packets: Number(packets), text, target, match });
  }
  return rules;
}

function readRule(words: readonly string[]): Pick<IptablesRule, 'target' | 'match'> {
  const match: RuleMatch = {};
  let target = '';
  for (const [index, word] of words.entries()) {
    const value = words[index + 1] ?? '';
    const field = FLAGS[word];
    if (field) match[field] = { value, not: words[index - 1] === '!' };
    if (word === '-j' || word === '-g') target = value;
    if (word === '--to-destination') match.to = value;
  }
  return { target, match };
}
