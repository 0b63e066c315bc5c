import { formatBytes } from '../../../protocol/byte-size.js';
import { formatAgo, formatDuration } from '../../../protocol/duration.js';
import type { ChannelReport, ConnectionReport, ForwardReport, StatusReport } from '../../records/reports.js';
import type { Rate } from './rates.js';

const MS_PER_SECOND = 1000;

/** `1.5 MiB/s`; nothing is a dash, which eyes skip. */
export function rateInWords(bytesPerSecond: number): string {
  return bytesPerSecond < 1 ? '–' : `${formatBytes(bytesPerSecond)}/s`;
}

/** For who cannot see a chart. */
export function ratesInWords({ toGuest, toHost }: Rate): string {
  return `${rateInWords(toGuest)} to the guest, ${rateInWords(toHost)} to the host`;
}

/** `0.4 ms`, `12 ms`, `3 s`, `5 min` */
export function spanInWords(ms: number): string {
  return ms < MS_PER_SECOND ? `${Number(ms.toPrecision(2))} ms` : formatDuration(ms / MS_PER_SECOND);
}

/** `12:30:05`, of this machine's clock. */
export function clock(atMs: number): string {
  const date = new Date(atMs);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}

/** What has become of a connection, in words: how it ended, or what it is doing. */
export function outcomeInWords({ ending, state }: ConnectionReport): string {
  if (!ending) return state;
  const { message, code } = ending;
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

/** How often it has failed, and how. */
export function failuresInWords({ counters }: ForwardReport): string {
  const parts = [
    [counters.failed, 'failed'],
    [counters.refused, 'refused'],
    [counters.empty, 'empty'],
    [counters.dropped, 'dropped'],
  ] as const;
  return parts.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : [])).join(', ') || '–';
}

/** The channel's health as pairs of name and value. */
export function channelFacts(channel: ChannelReport, now: number): [name: string, value: string][] {
  const { peer, roundTripMs, reconnects, streams, address, mode, since, lastError } = channel;
  const who =
    peer && (peer.version === null ? 'vpnkit-forwarder, or alike' : `portferry-guest ${peer.version}`);
  return [
    ['since', formatAgo(since, now)],
    ...(who === undefined ? [] : ([['guest', who]] as [string, string][])),
    ...(roundTripMs === undefined
      ? []
      : ([['round trip', `${Number(roundTripMs.toPrecision(2))} ms`]] as [string, string][])),
    ['streams', String(streams)],
    ['reconnects', String(reconnects)],
    ['address', `${mode} ${address}`],
    ...(lastError === undefined ? [] : ([['last error', lastError]] as [string, string][])),
    ...(peer?.missing === undefined ? [] : ([['upgrade', peer.missing]] as [string, string][])),
  ];
}

/** `portferry 0.1.0, pid 4711` */
export function hostInWords({ version, pid }: Pick<StatusReport, 'version' | 'pid'>): string {
  return `portferry ${version}, pid ${pid}`;
}
