import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { messageOf } from '../../protocol/errors.js';
import type { Finding, LinkReport } from '../../protocol/services/inspect.js';
import { fieldsOf, textOf } from '../engine-answer.js';

/** A network, as far as it is looked at. */
export interface EngineNetwork {
  id: string;
  driver: string;
  /** What its bridge was told to be called; empty where nothing was said. */
  bridge: string;
}

/** An interface of the guest's machine. */
interface Interface {
  name: string;
  index: number;
  up: boolean;
}

/** Docker's option for the name of a network's bridge; without it the name is made of the network's id. */
const BRIDGE_NAME = 'com.docker.network.bridge.name';

const NETWORK_ID_DIGITS = 12;

/** How long (ms) `ip` may take. */
const TIMEOUT_MS = 5_000;

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

const run = promisify(execFile);

/** Where it is looked; the defaults are this machine. */
export interface LinkSources {
  proc: string;
  sys: string;
  ip: string;
}

const here: LinkSources = { proc: '/proc', sys: '/sys', ip: 'ip' };

/**
 * Finds a container's link into the guest's machine: its network's bridge, and the guest's end of its veth pair.
 * @param pid of a process in the container
 */
export async function findLink(
  network: EngineNetwork,
  pid: number,
  sources: Partial<LinkSources> = {},
): Promise<Finding<LinkReport>> {
  const { proc, sys, ip } = { ...here, ...sources };
  if (network.driver !== 'bridge')
    return { unseen: `the network's driver is ${network.driver}, which needs no link in the guest` };
  try {
    const interfaces = await readInterfaces(sys, ip);
    const name = bridgeNameOf(network);
    const bridge = interfaces.find((one) => one.name === name);
    const veth = await findPeer(`${proc}/${pid}/root/sys/class/net`, interfaces);
    return {
      found: {
        ...(bridge && { bridge: bridge.name, up: bridge.up }),
        ...(veth && { veth: veth.name }),
      },
    };
  } catch (thrown) {
    return { unseen: `the guest's links cannot be read: ${messageOf(thrown)}` };
  }
}

/** Reads what an engine answers to `GET /networks/ID`. */
export function readNetwork(answer: unknown): EngineNetwork {
  const { Id: id, Driver: driver, Options: options } = fieldsOf(answer);
  return { id: textOf(id), driver: textOf(driver), bridge: textOf(fieldsOf(options)[BRIDGE_NAME]) };
}

function bridgeNameOf({ id, bridge }: EngineNetwork): string {
  return bridge || `br-${id.slice(0, NETWORK_ID_DIGITS)}`;
}

/** By `ip`, which sees the agent's own network; a /sys that was mounted elsewhere shows another one. */
async function readInterfaces(sys: string, ip: string): Promise<Interface[]> {
  try {
    const { stdout } = await run(ip, ['-json', 'link'], { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES });
    return (JSON.parse(stdout) as { ifname: string; ifindex: number; flags?: string[] }[]).map(
      ({ ifname, ifindex, flags = [] }) => ({ name: ifname, index: ifindex, up: flags.includes('UP') }),
    );
  } catch {
    // Small systems have no `ip`, or one that knows no JSON.
    return readSysInterfaces(`${sys}/class/net`);
  }
}

async function readSysInterfaces(folder: string): Promise<Interface[]> {
  const names = await readdir(folder);
  return Promise.all(
    names.map(async (name) => ({
      name,
      index: Number(await readFile(`${folder}/${name}/ifindex`, 'utf8')),
      up: (await readFile(`${folder}/${name}/operstate`, 'utf8')).trim() !== 'down',
    })),
  );
}

/** The interface that is the other end of one of a container's; its own file system shows their numbers. */
async function findPeer(folder: string, interfaces: readonly Interface[]): Promise<Interface | undefined> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (name === 'lo') continue;
    const peer = Number(await readFile(`${folder}/${name}/iflink`, 'utf8').catch(() => Number.NaN));
    const found = interfaces.find(({ index }) => index === peer);
    if (found) return found;
  }
  return undefined;
}
