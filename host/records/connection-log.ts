import { formatCount } from '../../protocol/count.js';
import { errnoOf } from '../../protocol/errors.js';
import type { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger, LogLevel } from '../../protocol/program/logger.js';
import { resetWord } from '../../protocol/socket/reset-word.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { ConnectionObserver, ConnectionRecord } from './connection-record.js';
import { type Ending, isCut } from './ending.js';

/**
 * What the log says of connections: nothing while all is well (but for debug lines), a line that says why for
 * each that fails, and a few with a number where many fail alike.
 */
export class ConnectionLog implements ConnectionObserver {
  readonly #log: Logger;
  readonly #limiter: LogLimiter;
  /** Whether it was said in this outage that clients are reset. */
  #outageLogged = false;
  /** Since the channel was there last: clients that have waited in vain, and connections that were cut with it. */
  #reset = 0;
  #cut = 0;

  constructor(logger: Logger, limiter: LogLimiter) {
    this.#log = logger;
    this.#limiter = limiter;
  }

  /** There is a channel: the next outage is worth a warning again. */
  onChannelUp(): void {
    this.#outageLogged = false;
    this.#reset = 0;
    this.#cut = 0;
  }

  /** What has become of clients while there was no channel, for people; undefined where nothing has. */
  toll(): string | undefined {
    const parts = [
      ...(this.#cut === 0 ? [] : [formatCount(this.#cut, 'connection was cut', 'connections were cut')]),
      ...(this.#reset === 0 ? [] : [formatCount(this.#reset, 'client was reset', 'clients were reset')]),
    ];
    return parts.length === 0 ? undefined : parts.join(', and ');
  }

  onEnded(record: ConnectionRecord, ending: Ending): void {
    if (waitedInVain(ending)) {
      this.#logOutage(record, ending);
      return;
    }
    const cut = isCut(ending);
    if (cut) this.#cut++;
    // One line tells of the outage, and the next how many it has cost; but a unix socket's client has seen no reset.
    const level = cut && record.forward.rule.proto !== 'unix' ? 'debug' : levelOf(ending);
    const line = `${resultOf(record, ending)}: ${ending.message}${nextStep(record, level)}`;
    if (level === 'debug') {
      if (this.#log.isLevelEnabled(level)) this.#log.debug(contextOf(record, ending), line);
    } else {
      const kind = `${record.forward.id} ${ending.termination} ${ending.code ?? ''}`;
      this.#limiter.log(level, kind, contextOf(record, ending), line);
    }
  }

  /** Once an outage, not once a client. */
  #logOutage(record: ConnectionRecord, ending: Ending): void {
    const context = contextOf(record, ending);
    this.#reset++;
    if (this.#outageLogged) this.#log.debug(context, `client reset: ${ending.message}`);
    else this.#log.warn(context, `clients are reset: ${ending.message}`);
    this.#outageLogged = true;
  }
}

/** Where to find out more of what the user can do something about. */
function nextStep({ forward }: ConnectionRecord, level: LogLevel): string {
  const { rule } = forward;
  if (level !== 'warn' || rule.proto === 'unix') return '';
  return `; see portferry doctor ${rule.hostPort}${rule.proto === 'udp' ? '/udp' : ''}`;
}

/** No stream could be opened for a client as long as it was held. */
function waitedInVain({ phase, how }: Ending): boolean {
  return phase === 'waiting' && how === 'timeout';
}

/** What the user can do something about is a warning; what clients, servers and guests do is not. */
function levelOf({ outcome, phase, code, empty }: Ending): LogLevel {
  if (empty) return 'info';
  if (outcome === 'closed') return 'debug';
  const hindered = phase === 'waiting' && code !== 'STOPPED';
  return outcome === 'refused' || hindered ? 'warn' : 'info';
}

/** What that meant for the client. */
function resultOf({ forward }: ConnectionRecord, { outcome, by, empty }: Ending): string {
  if (forward.rule.proto === 'udp') return 'flow ended';
  if (empty) return 'empty reply';
  if (outcome === 'closed') return 'connection closed';
  return by === 'client' ? 'client gone' : `client ${resetWord(forward.rule.proto)}`;
}

/** What every line of a connection has beside its sentence. */
export function contextOf(record: ConnectionRecord, ending?: Ending): object {
  const { forward, streamId } = record;
  return {
    forward: forward.id,
    ...(streamId >= 0 && { streamId }),
    destination: formatDestination(forward.rule.destination),
    ...(ending && { termination: ending.termination }),
    ...codeOf(ending?.code),
  };
}

/** An errno is one by its name in the log; all else is a code of ours. */
function codeOf(code: string | undefined): { errno: string } | { code: string } | undefined {
  if (code === undefined) return undefined;
  return errnoOf({ code }) === undefined ? { code } : { errno: code };
}
