import type { ContainerReport, ListenerReport, WayReport } from '../../protocol/services/inspect.js';
import type { ForwardReport, StateFileReport } from '../records/reports.js';
import type { PathReport } from './path.js';
import type { ProbeReport } from './probe.js';

/** What is wrong, and what to do about it: a sentence each. `hop` names the station where it is. */
export interface Complaint {
  hop: string;
  problem: string;
  advice: string;
}

/** What the host itself knows. */
export interface HostFacts {
  version: string;
  platform: NodeJS.Platform;
  /** Clients being served, and as many as there is room for. */
  clients: number;
  maxClients: number;
  /** Where forwards are kept over a restart, if they are. */
  stateFile?: StateFileReport;
}

/** What a judgement is made of. */
export interface Evidence {
  path: PathReport;
  /** Absent where no connection could be tried. */
  probe?: ProbeReport | undefined;
  /** What the host knows of itself. */
  facts?: HostFacts | undefined;
  /** How the way was before the connection was tried; absent where none was, or it has worked. */
  before?: PathReport | undefined;
}

/** A thing that can be wrong; undefined where it is not, or cannot be seen. */
export type Check = (evidence: Evidence) => Complaint | undefined;

export function wayOf({ guest }: PathReport): WayReport | undefined {
  return 'found' in guest ? guest.found : undefined;
}

export function containerOn(path: PathReport): ContainerReport | undefined {
  const container = wayOf(path)?.container;
  return container && 'found' in container ? (container.found ?? undefined) : undefined;
}

export function foundIn(finding: PathReport['listeners']): ListenerReport[] {
  return finding && 'found' in finding ? finding.found : [];
}

/** The addresses that a forward listens on, without their port. */
export function ipsOf({ addresses }: Pick<ForwardReport, 'addresses'>): string[] {
  return addresses.map((address) => address.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
}

/** Whether a listener gets what is sent to an address of its machine. */
export function serves({ ip }: ListenerReport, address: string): boolean {
  return ip === address || ip === '::' || (ip === '0.0.0.0' && !address.includes(':'));
}
