import type { Records } from '../records/records.js';
import { judge } from './doctor.js';
import type { Complaint } from './evidence.js';
import { examine, type HealthReport, type HealthSources } from './health.js';
import { type Hop, hopsOf } from './hops.js';
import { type PathQuestion, type PathReport, type PathSources, tracePath } from './path.js';
import { type ProbeReport, probe } from './probe.js';
import { type HostFacts, remarksOn } from './remarks.js';

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
    const [forward] = before.forwards;
    const tried =
      forward?.state === 'listening' && forward.proto !== 'udp' && before.channel.state === 'connected'
        ? await probe(forward, this.#sources.records)
        : undefined;
    // What the connection has changed, such as a firewall's counters, is to be seen.
    const path = tried && tried.outcome !== 'connected' ? await this.path(question) : before;
    const complaint = judge({ path, probe: tried });
    return {
      asked: path.asked,
      ok: complaint === undefined,
      ...(complaint && { complaint }),
      hops: judgeHops(hopsOf(path), complaint),
      remarks: remarksOn(path, this.#sources.facts()),
      ...(tried && { probe: tried }),
      path,
    };
  }
}

/** What comes before the place of the complaint is in order, as far as it was seen. */
function judgeHops(hops: readonly Hop[], complaint: Complaint | undefined): JudgedHop[] {
  const at = complaint ? hops.findIndex(({ name }) => name === complaint.hop) : hops.length;
  return hops.map((hop, index) => {
    if (index === at) return { ...hop, ok: false };
    return hop.seen && index < at ? { ...hop, ok: true } : hop;
  });
}
