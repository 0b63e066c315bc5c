import { formatHostPort } from '../../protocol/wire/destination.js';
import type { Records } from '../records/records.js';
import { judge } from './doctor.js';
import type { Complaint, HostFacts } from './evidence.js';
import { examine, type HealthReport, type HealthSources } from './health.js';
import { type Hop, hopsOf } from './hops.js';
import { otherForwarder } from './other-forwarder.js';
import { type PathQuestion, type PathReport, type PathSources, tracePath } from './path.js';
import { type ProbeReport, probe, probeOther } from './probe.js';
import { remarksOn } from './remarks.js';

/** `GET /v1/doctor`: what is wrong with the way of a port, and what to do about it. */
export interface DoctorReport {
  asked: string;
  ok: boolean;
  /** The station where it is wrong, and a sentence each; absent where nothing is. */
  complaint?: Complaint;
  hops: JudgedHop[];
  /** What may all the same be the reason, a sentence each. */
  remarks: string[];
  /** The connection that was tried. */
  probe?: ProbeReport;
  path: PathReport;
}

/** `ok`: absent where it could not be seen, or lies behind what is wrong. */
export interface JudgedHop extends Hop {
  ok?: boolean;
}

export interface DiagnosisSources extends PathSources {
  records: Pick<Records, 'observe' | 'open' | 'ended'>;
  facts(): HostFacts;
  /** Finds out whether the guest is there, where that is not known. */
  probe(): Promise<void>;
  publishers: HealthSources['publishers'];
}

/** Looks along the ways of this host's ports, and judges them. */
export class Diagnosis {
  readonly #sources: DiagnosisSources;

  constructor(sources: DiagnosisSources) {
    this.#sources = sources;
  }

  path(question: PathQuestion): Promise<PathReport> {
    return tracePath(question, this.#sources);
  }

  /** Looks at all that can be wrong with this host, whatever port it is about. */
  async health(): Promise<HealthReport> {
    await this.#sources.probe();
    return examine({ ...this.#sources, doctor: (question) => this.doctor(question) });
  }

  /** Looks, tries one connection, and says what is wrong. */
  async doctor(question: PathQuestion): Promise<DoctorReport> {
    const before = await this.path(question);
    const tried = await this.#try(before);
    // What the connection has changed, such as a firewall's counters, is to be seen.
    const again = tried !== undefined && tried.outcome !== 'connected';
    const path = again ? await this.path(question) : before;
    const facts = this.#sources.facts();
    const complaint = judge({ path, probe: tried, facts, before: again ? before : undefined });
    return {
      asked: path.asked,
      ok: complaint === undefined,
      ...(complaint && { complaint }),
      hops: judgeHops(hopsOf(path), complaint),
      remarks: remarksOn(path, facts),
      ...(tried && { probe: tried }),
      path,
    };
  }

  /** One connection through the port, where somebody is there to take it. */
  async #try(path: PathReport): Promise<ProbeReport | undefined> {
    const [forward] = path.forwards;
    const other = otherForwarder(path);
    if (other) return other.proto === 'tcp' ? probeOther(formatHostPort(other.ip, other.port)) : undefined;
    if (forward?.state !== 'listening' || forward.proto === 'udp' || path.channel.state !== 'connected')
      return undefined;
    return probe(forward, this.#sources.records);
  }
}

/** The stations in their order, as far as there can be a complaint about them. */
const ORDER = ['host', 'forward', 'channel', 'guest', 'firewall', 'container', 'DNAT', 'network', 'server'];

/**
 * What comes before the place of the complaint is in order, as far as it was seen. A place that is not on the way,
 * such as a forward that there is none of, is where it ought to be.
 */
function judgeHops(hops: readonly Hop[], complaint: Complaint | undefined): JudgedHop[] {
  if (!complaint) return hops.map((hop) => judgeHop(hop));
  const place = ORDER.indexOf(complaint.hop);
  const before = hops.filter(({ name }) => ORDER.indexOf(name) < place);
  const here = hops.find(({ name }) => name === complaint.hop);
  const behind = hops.filter(({ name }) => ORDER.indexOf(name) > place);
  const missing = { name: complaint.hop, text: complaint.problem, seen: true };
  return [...before.map(judgeHop), { ...(here ?? missing), ok: false }, ...behind];
}

function judgeHop(hop: Hop): JudgedHop {
  return hop.seen && hop.works !== false ? { ...hop, ok: true } : hop;
}
