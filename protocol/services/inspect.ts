/**
 * The service `portferry:inspect`, by which the host asks the guest what lies behind a port: HTTP/1.1 over a
 * stream. SPEC.md 11.2 describes it. The guest only looks, and changes nothing.
 */

/** Where the guest listens for it: the destination of a stream. */
export const INSPECT_SERVICE = 'portferry:inspect';

/**
 * `GET`, with a query that names what is looked for: `proto` and either `ip` and `port`, a destination; or
 * `published`, a port that an engine in the guest publishes; or `container`, a name or an id, and `private`, a
 * port inside it. Answers with a WayReport, or with 400 and a message.
 */
export const WAY_RESOURCE = '/v1/way';

/** What was found, or why nothing could be seen. */
export type Finding<T> = { readonly found: T } | { readonly unseen: string };

/** The way from a port in the guest's machine to the process that serves it. */
export interface WayReport {
  machine: MachineReport;
  /** What listens in the guest's own network on the address and port that is dialled, or published. */
  listeners: Finding<ListenerReport[]>;
  /** The container that the port belongs to; null: none has it. */
  container: Finding<ContainerReport | null>;
  /** Where the container does not run: those that run and publish a port which it would publish. */
  rivals: RivalReport[];
  /** Where no container publishes the port: those in which something listens on one of that number. */
  candidates: CandidateReport[];
  /** The engine's rules that lead the published port to the container. */
  dnat: Finding<DnatReport[]>;
  /** Rules of a firewall that can stop packets on this way, and have stopped some. */
  drops: Finding<DropReport[]>;
  /** The container's link into the guest's machine. */
  link: Finding<LinkReport>;
  /** What listens inside the container on the port there, and if nothing does, on which others something does. */
  inside: Finding<ListenerReport[]>;
}

export interface MachineReport {
  hostname: string;
  /** The kernel's release number alone. */
  kernel: string;
  /** The guest's clock (ms since 1970) when it answered. */
  clock: number;
  /** Whether the agent may look everywhere. */
  privileged: boolean;
}

/** A socket that listens, and the process that has it. */
export interface ListenerReport {
  proto: 'tcp' | 'udp';
  ip: string;
  port: number;
  pid?: number;
  command?: string;
}

export interface ContainerReport {
  id: string;
  name: string;
  image: string;
  /** As the engine calls it: `running`, `exited`, `restarting`, `paused` … */
  state: string;
  /** `healthy`, `unhealthy`, `starting`; absent where the image has no check. */
  health?: string;
  exitCode?: number;
  /** Why the engine could not start it, in the engine's words. */
  error?: string;
  /** How often its engine has started it again. */
  restarts: number;
  /** How long (s) it has run. */
  upSeconds?: number;
  /** Its first process, as the guest sees it; absent unless it runs. */
  pid?: number;
  /** Its own addresses, in the order in which the engine prefers them. */
  addresses: string[];
  /** `bridge`, `host`, `none`, a network's name … */
  network: string;
  networkDriver: string;
  /** The port inside that was asked for, if it is known. */
  privatePort?: number;
  /** What of it is published: `0.0.0.0:8080 → 80/tcp`. */
  published: PublishedReport[];
  /** Which ports its image says that it serves: `80/tcp`. */
  exposed: string[];
}

/** A container that may be the one that is meant. */
export interface CandidateReport {
  id: string;
  name: string;
}

export interface RivalReport extends CandidateReport {
  port: number;
}

export interface PublishedReport {
  ip: string;
  port: number;
  privatePort: number;
  proto: string;
}

export interface DnatReport {
  /** Which program has shown it: `iptables-legacy`, `iptables-nft`, `nft`. */
  by: string;
  chain: string;
  /** The rule as that program writes it. */
  rule: string;
  to: string;
  packets?: number;
}

export interface DropReport {
  by: string;
  chain: string;
  rule: string;
  packets: number;
}

export interface LinkReport {
  /** The bridge's interface; absent where the network has none. */
  bridge?: string;
  /** Whether it is up. */
  up?: boolean;
  /** The guest's end of the container's veth pair. */
  veth?: string;
}
