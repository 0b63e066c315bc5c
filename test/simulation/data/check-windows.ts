import type { Multiplexer } from '../../../protocol/multiplexer.js';
import { MAX_WINDOW_BYTES } from '../../../protocol/window.js';
import type { End } from '../world/end.js';
import type { Network } from '../world/network.js';
import { Violation } from '../world/world.js';

/** The two ends of a schedule, and what is between them. */
export interface Ends {
  host: End;
  guest: End;
  network: Network;
}

/** What one end believes of a stream. */
interface Belief {
  sent: number;
  allowed: number;
  received: number;
  granted: number;
  unread: number;
  pending: number;
  over: boolean;
  shut: boolean;
}

/**
 * Compares what both ends believe of the windows of each stream, while nothing is under way between them.
 * @throws Violation when they do not agree, or when somebody waits for what nobody will send
 */
export function checkWindows({ host, guest, network }: Ends): void {
  const [wire, ...others] = network.live();
  const near = host.keeper.multiplexer;
  const far = guest.keeper.multiplexer;
  if (!near || !far || !wire || others.length > 0) return;
  if (wire.some((socket) => socket.destroyed || socket.broken || socket.frozen || !socket.quiet)) return;
  for (const id of near.streams.keys()) {
    const [a, b] = [beliefOf(near, id), beliefOf(far, id)];
    if (!a || !b) throw new Violation(`only one end knows stream ${id}: ${near.describe()}${far.describe()}`);
    if (a.over || b.over) continue;
    compare(id, a, b);
    compare(id, b, a);
  }
}

function compare(id: number, from: Belief, to: Belief): void {
  const fail = (what: string): never => {
    throw new Violation(
      `stream ${id}: ${what} (sender: ${JSON.stringify(from)}, receiver: ${JSON.stringify(to)})`,
    );
  };
  if (from.sent !== to.received) fail('what was sent has not all come, and nothing is on its way');
  if (from.allowed !== to.granted && !from.shut) fail('both ends know of another window');
  if (from.sent > from.allowed) fail('more was sent than was allowed');
  if (to.granted - (to.received - to.unread) > MAX_WINDOW_BYTES) fail('the window is too large');
  if (from.pending > 0 && from.allowed > from.sent) fail('payload waits though there is a window');
  // Nothing is granted to a stream that nobody has decided upon yet.
  if (from.pending > 0 && to.unread === 0 && to.granted > 0)
    fail('payload waits for a window, and the reader has read all');
}

function beliefOf(multiplexer: Multiplexer, id: number): Belief | undefined {
  const text = multiplexer.streams.get(id)?.describe();
  if (text === undefined) return undefined;
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  return {
    sent: number(/sent=(\d+)/),
    allowed: number(/sent=\d+\/(\d+)/),
    received: number(/received=(\d+)/),
    granted: number(/received=\d+\/(\d+)/),
    unread: number(/unread=(\d+)/),
    pending: number(/pending=(\d+)/),
    over: text.includes('close-sent'),
    shut: text.includes('shutdown-sent'),
  };
}
