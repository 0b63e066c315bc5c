import type { StreamEnd } from '../../protocol/stream.js';
import type { OpenResult, Reason } from '../../protocol/wire/extension.js';

/** Who ended a connection; `channel` is what joins host and guest, `policy` a rule of the guest's. */
export type EndedBy = 'client' | 'server' | 'host' | 'guest' | 'channel' | 'policy';

/** How far a connection had come. */
export type Phase = 'waiting' | 'dialling' | 'data';

/** What has become of a connection: in good order, not reached, or cut off. */
export type Outcome = 'closed' | 'refused' | 'failed';

/** Why a connection ended, as far as that can be said without knowing how far it had come. */
export interface Cause {
  outcome: Outcome;
  by: EndedBy;
  /** FIN is good order; `error` is everything that `code` has to name. */
  how: 'FIN' | 'RST' | 'timeout' | 'error';
  /** An errno, or one of our own codes (SPEC.md, 8 and 12). */
  code?: string | undefined;
  /** A sentence for people. */
  message: string;
}

/** How a connection ended. */
export interface Ending extends Cause {
  phase: Phase;
  /** The server ended first, and in good order, without having sent a byte. */
  empty: boolean;
  /** Two letters that stay as they are; docs/records.md has the table. */
  termination: string;
}

/** Whether it ended as it should; all else is a failure to whoever looks for one. */
export function isFine({ outcome, empty }: Pick<Ending, 'outcome' | 'empty'>): boolean {
  return outcome === 'closed' && !empty;
}

const WHO: Record<EndedBy, string> = {
  ...{ client: 'C', server: 'S', host: 'H', guest: 'G', channel: 'X', policy: 'P' },
};

const WHERE: Record<Phase, string> = { waiting: 'W', dialling: 'C', data: 'D' };

/** The termination code of an ending, in the manner of HAProxy's termination states. */
export function terminationOf({ by, how, outcome }: Cause, phase: Phase, empty: boolean): string {
  if (empty) return 'SE';
  // An idle flow has ended as it should.
  if (outcome === 'closed' && how !== 'error') return '--';
  const who = WHO[by];
  return `${how === 'timeout' ? who.toLowerCase() : who}${WHERE[phase]}`;
}

// ---- causes --------------------------------------------------------------------------------------------

/** Both sides have ended in good order. @param first who did so first */
export function closed(first: 'client' | 'server'): Cause {
  return { outcome: 'closed', by: first, how: 'FIN', message: `the ${first} ended the connection` };
}

/** The client's own socket has failed. */
export function clientFailed({ code, message }: Reason): Cause {
  const by = LOCAL_ERRNOS.has(code) ? 'host' : 'client';
  return { outcome: 'failed', by, ...howOf(code), message: describe(by, code, message) };
}

/** This process has ended the connection, by its own wish. */
export function endedByHost({ code, message }: Reason, outcome: Outcome = 'failed'): Cause {
  return { outcome, by: 'host', how: 'error', code, message };
}

/** A stream has ended that this process has not ended itself. @param destination for people */
export function streamEnded(end: StreamEnd, destination: string): Cause {
  switch (end.how) {
    case 'closed':
      return closed('server');
    case 'refused':
      return refused(end.result, destination);
    case 'reset':
      return resetByGuest(end.reason);
    case 'lost':
      return lost(end.reason);
  }
}

/** Dials that fail for want of something that the guest itself should have. */
function refused(result: OpenResult | undefined, destination: string): Cause {
  const reason = result?.reason;
  if (!reason) {
    const message = `the guest closed the stream to ${destination} at once; a plain peer cannot say why`;
    return { outcome: 'refused', by: 'server', how: 'error', message };
  }
  const { code, message } = reason;
  if (result.step === 'policy' && code === 'EACCES')
    return {
      ...{ outcome: 'refused', by: 'policy', how: 'error', code },
      message: `the guest does not allow ${destination}: ${message}`,
    };
  if (result.step !== 'dial')
    return {
      ...{ outcome: 'refused', by: 'guest', how: 'error', code },
      message: `the guest has refused ${destination}: ${message}`,
    };
  const took = `after ${(result.micros / 1000).toFixed(1)} ms`;
  return {
    ...{ outcome: 'refused', by: LOCAL_ERRNOS.has(code) ? 'guest' : 'server' },
    ...howOf(code),
    message: `the guest could not reach ${destination}: ${code} (${message}) ${took}`,
  };
}

/**
 * A Reset. An errno comes from the guest's own socket, which leads to the server: it is what the server did.
 * All other codes are the guest's.
 */
function resetByGuest({ code, message }: Reason): Cause {
  if (!ERRNO.test(code)) {
    const by = CHANNEL_CODES.has(code) ? 'channel' : 'guest';
    return { outcome: 'failed', by, how: 'error', code, message };
  }
  const by = LOCAL_ERRNOS.has(code) ? 'guest' : 'server';
  return { outcome: 'failed', by, ...howOf(code), message: describe(by, code, message) };
}

/** Whether the channel itself was lost, and with it all that it carried. */
export function isCut({ by, phase, code = '' }: Ending): boolean {
  return by === 'channel' && phase !== 'waiting' && !CHANNEL_CODES.has(code);
}

function lost(reason: Reason): Cause {
  // With this code it is this process that has closed the channel.
  if (reason.code === 'STOPPED') return endedByHost(reason);
  const message = `the channel was lost: ${reason.message}`;
  return { outcome: 'failed', by: 'channel', how: 'error', code: reason.code, message };
}

// ---- errnos --------------------------------------------------------------------------------------------

/** What names of errnos look like; our own codes have an underscore, or another first letter. */
const ERRNO = /^E[A-Z0-9]+$/;

/** What a process lacks itself: no other end of a connection has a part in it. */
const LOCAL_ERRNOS: ReadonlySet<string> = new Set([
  ...['EADDRINUSE', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EAGAIN', 'EMFILE', 'ENAMETOOLONG', 'ENFILE'],
  ...['ENOBUFS', 'ENOMEM'],
]);

/** One end has broken the rules of the channel for this stream. */
const CHANNEL_CODES: ReadonlySet<string> = new Set([
  ...['BAD_DATAGRAM', 'WINDOW_EXCEEDED', 'WINDOW_SHRANK', 'WINDOW_TOO_LARGE'],
]);

function howOf(code: string): Pick<Cause, 'how' | 'code'> {
  if (code === 'ECONNRESET' || code === 'EPIPE') return { how: 'RST', code };
  return { how: code === 'ETIMEDOUT' ? 'timeout' : 'error', code };
}

/** @param who whose connection has failed, or who lacks something for one */
function describe(who: 'client' | 'server' | 'host' | 'guest', code: string, message: string): string {
  const detail = `(${message})`;
  if (code === 'ECONNRESET' || code === 'EPIPE') return `the ${who} reset the connection ${detail}`;
  if (code === 'ETIMEDOUT') return `the ${who} did not answer any more ${detail}`;
  if (who === 'client' || who === 'server') return `the connection to the ${who} failed ${detail}`;
  return `the ${who} could not go on ${detail}`;
}
