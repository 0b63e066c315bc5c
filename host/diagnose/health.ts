import { formatCount } from '../../protocol/count.js';
import type { PublisherReport } from '../forwards/leases.js';
import { describeFailures, recentFailures } from '../records/recent-failures.js';
import type { ForwardReport } from '../records/reports.js';
import type { Complaint, HostFacts } from './evidence.js';
import { describeChannel } from './hops.js';
import { noChannel } from './host-checks.js';
import type { PathQuestion, PathSources } from './path.js';
import { remarksOnHost } from './remarks.js';

/** Forwards that are looked at hop by hop, all at the same time: each takes a connection and a look of the guest. */
const MAX_JUDGED = 8;

/** Lines about forwards, and about publishers; what is more is counted. */
const MAX_LINES = 32;

/** `GET /v1/doctor` without a question: what is wrong with this host, and what to do about it. */
export interface HealthReport {
  ok: boolean;
  /** A sentence each; absent where nothing is wrong. */
  complaint?: Complaint;
  checks: HealthCheck[];
  /** What may all the same be the reason, a sentence each. */
  remarks: string[];
}

/** One line. `ok`: absent where it was not seen. */
export interface HealthCheck {
  name: 'channel' | 'publisher' | 'forward';
  text: string;
  ok?: boolean;
}

export interface HealthSources extends Pick<PathSources, 'forwards' | 'channel'> {
  publishers(): readonly PublisherReport[];
  facts(): HostFacts;
  /** The hop by hop look at one forward. */
  doctor(question: PathQuestion): Promise<{ readonly complaint?: Complaint }>;
}

/** Looks at the channel, the publishers, and every forward that is not listened on or has failed lately. */
export async function examine(sources: HealthSources, now = Date.now()): Promise<HealthReport> {
  const channel = sources.channel();
  const facts = sources.facts();
  const outage = noChannel(channel, facts.platform);
  const suspects = sources.forwards().filter((forward) => isSuspect(forward, now));
  const judged = await Promise.all(
    suspects.slice(0, outage ? 0 : MAX_JUDGED).map((forward) => judgeForward(forward, sources, now)),
  );
  const rest = suspects.slice(judged.length).map((forward) => ({ check: describeSuspect(forward, now) }));
  const complaints = [outage, ...judged.map(({ complaint }) => complaint)].filter((one) => one !== undefined);
  const [complaint] = complaints;
  return {
    ok: complaint === undefined,
    ...(complaint && { complaint: withOthers(complaint, complaints.length - 1) }),
    checks: [
      { name: 'channel', text: describeChannel(channel), ok: !outage },
      ...atMost(describePublishers(sources.publishers(), outage === undefined), 'publisher'),
      ...atMost(
        [...judged, ...rest].map(({ check }) => check),
        'forward',
      ),
    ],
    remarks: remarksOnHost(channel, facts),
  };
}

function isSuspect({ state, failures = [] }: ForwardReport, now: number): boolean {
  return state !== 'listening' || recentFailures(failures, now).length > 0;
}

/** Whether it works now: what has failed lately may have been mended. */
async function judgeForward(
  forward: ForwardReport,
  sources: HealthSources,
  now: number,
): Promise<{ check: HealthCheck; complaint: Complaint | undefined }> {
  const { id, destination } = forward;
  const { complaint } = await sources.doctor({ kind: 'forward', id, destination });
  const text = complaint ? `${id}: ${complaint.problem}` : `${describe(forward, now)}; nothing is wrong now`;
  return { check: { name: 'forward', text, ok: !complaint }, complaint };
}

/** Nobody has looked at it now. */
function describeSuspect(forward: ForwardReport, now: number): HealthCheck {
  return { name: 'forward', text: describe(forward, now) };
}

function describe({ id, state, error, failures = [] }: ForwardReport, now: number): string {
  const failed = describeFailures(recentFailures(failures, now), now);
  return `${id}: ${failed ?? `${state}: ${error}`}`;
}

function describePublishers(publishers: readonly PublisherReport[], seen: boolean): HealthCheck[] {
  if (publishers.length === 0)
    return [{ name: 'publisher', text: 'nobody in the guest asks for forwards', ...(seen && { ok: true }) }];
  return publishers.map(({ publisher, leases, forwards, missing }) => ({
    name: 'publisher',
    text: `${publisher}: ${formatCount(leases, 'lease')}, ${formatCount(forwards, 'forward')}${missing > 0 ? `, ${missing} of which are not listened on` : ''}`,
    ok: missing === 0,
  }));
}

function atMost(checks: HealthCheck[], name: HealthCheck['name']): HealthCheck[] {
  const more = checks.length - MAX_LINES;
  return more > 0 ? [...checks.slice(0, MAX_LINES), { name, text: `and ${more} more` }] : checks;
}

/** One sentence is enough to begin with; how much more there is to do is told. */
function withOthers(complaint: Complaint, others: number): Complaint {
  if (others === 0) return complaint;
  return {
    ...complaint,
    problem: `${complaint.problem} (and ${formatCount(others, 'more problem')}, see above)`,
  };
}
