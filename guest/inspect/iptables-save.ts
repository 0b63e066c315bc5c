import type { NetfilterRule, RuleMatch } from './netfilter-rule.js';

const FLAGS: { readonly [flag: string]: Exclude<keyof RuleMatch, 'to'> } = {
  '-d': 'destination',
  '--dport': 'destinationPort',
  '-p': 'proto',
};

/**
 * The rules in the output of `iptables-save -c`, or of ip6tables-save: `[3:180] -A DOCKER -p tcp --dport 8080 …`.
 * A chain that
 * drops what none of its rules has taken, `:OUTPUT DROP [4:240]`, has one more. All else is left out.
 */
export function parseIptablesSave(output: string): NetfilterRule[] {
  const rules: NetfilterRule[] = [];
  let table = '';
  for (const line of output.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const [, dropping, dropped] = /^:(\S+) DROP \[(\d+):\d+\]$/.exec(line) ?? [];
    if (dropping !== undefined)
      rules.push({
        ...{ table, chain: dropping, packets: Number(dropped), text: 'policy DROP', target: 'DROP' },
        match: {},
      });
    const [, packets, chain, text] = /^\[(\d+):\d+\] -A (\S+) (.*)$/.exec(line) ?? [];
    if (chain === undefined || text === undefined) continue;
    const { target, match } = readRule(text.split(' '));
    rules.push({ table, chain, packets: Number(packets), text, target, match });
  }
  return rules;
}

function readRule(words: readonly string[]): Pick<NetfilterRule, 'target' | 'match'> {
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
