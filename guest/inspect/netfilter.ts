import { execFile } from 'node:child_process';
import { BlockList, isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { errnoOf, messageOf } from '../../protocol/errors.js';
import type { DnatReport, DropReport, Finding } from '../../protocol/services/inspect.js';
import { type Condition, type IptablesRule, parseIptablesSave } from './iptables-save.js';

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

/** Each shows the rules of one of the kernel's two tables of iptables, for one family. */
const SAVERS = [
  { by: 'iptables-nft', program: 'iptables-nft-save' },
  { by: 'iptables-legacy', program: 'iptables-legacy-save' },
  { by: 'ip6tables-nft', program: 'ip6tables-nft-save' },
  { by: 'ip6tables-legacy', program: 'ip6tables-legacy-save' },
] as const;

/** How long (ms) a program may take: the tables of thousands of containers take a second. */
const TIMEOUT_MS = 5_000;

/** What one may write: the rules of some 10,000 published ports. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** What is shown of many rules that can match. */
const MAX_SHOWN = 20;

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
  const tables = await Promise.all(
    SAVERS.map(async ({ by, program }) => ({ by, ...(await readRules(program, runProgram)) })),
  );
  const seen = tables.filter(({ problem }) => problem === undefined);
  if (seen.length === 0) {
    const unseen = `the rules of iptables cannot be read: ${tables[0]?.problem}`;
    return { dnat: { unseen }, drops: { unseen } };
  }
  const flows = behind ? [...published, behind] : published;
  const matching = seen.flatMap(({ by, rules }) =>
    rules.filter((rule) => flows.some((flow) => canMatch(rule, flow))).map((rule) => ({ by, ...rule })),
  );
  return {
    dnat: {
      found: matching
        .filter(({ table, target }) => table === 'nat' && target === 'DNAT')
        .slice(0, MAX_SHOWN)
        .map(({ by, chain, text, packets, match }) => ({
          by,
          chain,
          rule: text,
          to: match.to ?? '',
          packets,
        })),
    },
    drops: {
      found: matching
        .filter(
          ({ table, target, packets }) => table === 'filter' && STOPPING.includes(target) && packets > 0,
        )
        .slice(0, MAX_SHOWN)
        .map(({ by, chain, text, packets }) => ({ by, chain, rule: text, packets })),
    },
  };
}

async function readRules(
  program: string,
  runProgram: RunProgram,
): Promise<{ rules: IptablesRule[]; problem?: string }> {
  try {
    return { rules: parseIptablesSave(await runProgram(program, ['-c'])) };
  } catch (thrown) {
    const missing = errnoOf(thrown) === 'ENOENT';
    return { rules: [], problem: missing ? `there is no ${program} in the guest` : messageOf(thrown) };
  }
}

/** Whether a rule can be for the packets of a flow, by what it says of their destination. */
function canMatch({ match }: IptablesRule, { proto, ip, port }: Flow): boolean {
  return (
    holds(match.proto, (value) => value === proto) &&
    holds(match.destinationPort, (value) => includesPort(value, port)) &&
    holds(match.destination, (value) => includesAddress(value, ip))
  );
}

function holds(condition: Condition | undefined, test: (value: string) => boolean): boolean {
  return condition === undefined || test(condition.value) !== condition.not;
}

/** `8080`, or `8000:8999`. */
function includesPort(range: string, port: number): boolean {
  const [first, last = first] = range.split(':').map(Number);
  return port >= Number(first) && port <= Number(last);
}

/** `172.17.0.2/32`. */
function includesAddress(subnet: string, ip: string): boolean {
  const [address = '', prefix] = subnet.split('/');
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  list.addSubnet(address, Number(prefix ?? (family === 'ipv6' ? 128 : 32)), family);
  return list.check(ip, isIPv6(ip) ? 'ipv6' : 'ipv4');
}
