import { execFile } from 'node:child_process';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import type { DnatReport, DropReport, Finding } from '../../protocol/services/inspect.js';
import { parseIptablesSave } from './iptables-save.js';
import type { Condition, NetfilterRule } from './netfilter-rule.js';
import { parseNftRuleset } from './nft-ruleset.js';

/** Packets that are on the way from whoever dials to the server. */
export interface Flow {
  proto: 'tcp' | 'udp';
  ip: string;
  port: number;
}

export interface NetfilterReport {
  dnat: Finding<DnatReport[]>;
  drops: Finding<DropReport[]>;
}

/** Each shows rules of the kernel that the others do not. */
const SHOWERS: readonly {
  by: string;
  command: readonly [program: string, ...args: string[]];
  parse: (output: string) => NetfilterRule[];
}[] = [
  ...['iptables-nft', 'iptables-legacy', 'ip6tables-nft', 'ip6tables-legacy'].map((by) => ({
    ...{ by, parse: parseIptablesSave },
    command: [`${by}-save`, '-c'] as const,
  })),
  { by: 'nft', command: ['nft', 'list', 'ruleset'], parse: parseNftRuleset },
];

/** How long (ms) a program may take: the tables of thousands of containers take a second. */
const TIMEOUT_MS = 5_000;

/** What one may write: the rules of some 10,000 published ports. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** What is shown of many rules that can match. */
const MAX_SHOWN = 20;

/** What engines call their chains and tables: DOCKER, DOCKER-USER, docker-bridges. */
const ENGINE_CHAIN = /docker/i;

const STOPPING = ['DROP', 'REJECT'];

const run = promisify(execFile);

/** Runs a program, and gives what it has written to standard output. */
export type RunProgram = (program: string, args: readonly string[]) => Promise<string>;

const runHere: RunProgram = async (program, args) => {
  const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
  return (await run(program, [...args], options)).stdout;
};

/**
 * Reads from the kernel's tables which rules lead a published port to a container, and which can stop packets.
 * @param published where the port is published
 * @param behind where it leads to, if that is known
 */
export async function inspectNetfilter(
  published: readonly Flow[],
  behind: Flow | undefined,
  runProgram: RunProgram = runHere,
): Promise<NetfilterReport> {
  const shown = await Promise.all(
    SHOWERS.map(async ({ by, command: [program, ...args], parse }) => {
      try {
        return { by, rules: parse(await runProgram(program, args)) };
      } catch (thrown) {
        return { by, rules: [], problem: describeFailure(program, thrown) };
      }
    }),
  );
  const seen = shown.filter(({ problem }) => problem === undefined);
  if (seen.length === 0) {
    const unseen = `the rules of the packet filter cannot be read: ${shown[0]?.problem}`;
    return { dnat: { unseen }, drops: { unseen } };
  }
  const flows = behind ? [...published, behind] : published;
  const matching = seen.flatMap(({ by, rules }) =>
    rules.filter((rule) => flows.some((flow) => canMatch(rule, flow))).map((rule) => ({ by, ...rule })),
  );
  const dnat = matching
    .filter(({ table, target }) => table === 'nat' && target === 'DNAT')
    .slice(0, MAX_SHOWN)
    .map(({ by, chain, text, packets, match }) => ({ by, chain, rule: text, to: match.to ?? '', packets }));
  const drops = matching
    .filter(({ table, target, packets }) => table === 'filter' && STOPPING.includes(target) && packets > 0)
    .slice(0, MAX_SHOWN)
    .map(({ by, chain, text, packets }) => ({ by, chain, rule: text, packets }));
  const engineSeen = seen.some(({ rules }) => rules.some(({ chain }) => ENGINE_CHAIN.test(chain)));
  return {
    dnat: dnat.length > 0 || engineSeen ? { found: dnat } : { unseen: describeHidden(shown) },
    drops: { found: drops },
  };
}

/** An engine has rules, and none was found. */
function describeHidden(shown: readonly { problem?: string }[]): string {
  const problem = shown.find((one) => one.problem !== undefined)?.problem;
  return `no rules of an engine can be seen${problem === undefined ? '' : `, and ${problem}`}`;
}

function describeFailure(program: string, thrown: unknown): string {
  return errnoOf(thrown) === 'ENOENT' ? `there is no ${program} in the guest` : messageOf(thrown);
}

/** Whether a rule can be for the packets of a flow, by what it says of their destination. */
function canMatch({ match }: NetfilterRule, { proto, ip, port }: Flow): boolean {
  return (
    holds(match.proto, (value) => value === proto) &&
    holds(match.destinationPort, (value) => includesPort(value, port)) &&
    holds(match.destination, (value) => includesAddress(value, ip))
  );
}

/** @param test undefined: what the condition says is not understood, and may hold */
function holds(condition: Condition | undefined, test: (value: string) => boolean | undefined): boolean {
  const met = condition && test(condition.value);
  return met === undefined || met !== condition?.not;
}

/** `8080`, or `8000:8999`. */
function includesPort(range: string, port: number): boolean {
  const [first, last = first] = range.split(':').map(Number);
  return port >= Number(first) && port <= Number(last);
}

/** `172.17.0.2/32`. @returns undefined for what is no subnet, such as an address with the mask 255.0.255.0 */
function includesAddress(subnet: string, ip: string): boolean | undefined {
  const [address = '', prefix] = subnet.split('/');
  const bits = isIPv6(address) ? 128 : 32;
  const length = Number(prefix ?? bits);
  if (isIP(address) === 0 || !Number.isInteger(length) || length < 0 || length > bits) return undefined;
  const list = new BlockList();
  list.addSubnet(address, length, familyOf(address));
  return list.check(ip, familyOf(ip));
}

function familyOf(ip: string): 'ipv4' | 'ipv6' {
  return isIPv6(ip) ? 'ipv6' : 'ipv4';
}
