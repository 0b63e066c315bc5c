import { OperationError, UsageError } from '../../protocol/errors.js';
import { formatDestination } from '../../protocol/wire/destination.js';
import type { Claim } from '../forwards/claim.js';
import { type Forward, forwardId } from '../forwards/forward.js';
import type { Records } from '../records/records.js';
import { parseSpecMatcher } from '../rule/forward-matcher.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { Capture, type CaptureLimits, type CaptureSubject } from './capture.js';
import { ConnectionTaps } from './connection-taps.js';
import { FrameFilter } from './frame-filter.js';
import { framePacket, LINKTYPE_FRAMES } from './frame-packet.js';
import { type FrameTap, FrameTaps, type ObservableChannel } from './frame-taps.js';
import { completeLimits } from './limits.js';
import { forWhom } from './naming.js';
import { LINKTYPE_RAW } from './packet.js';

/** Captures at once: each may keep MAX_QUEUED_BYTES. */
export const MAX_CAPTURES = 8;

/** How long (ms) the readers of captures may take to read the rest when the host stops. */
const LAST_READ_MS = 1000;

/** What captures see. */
export interface CaptureSources {
  readonly version: string;
  readonly records: Records;
  readonly channel: ObservableChannel;
  /** All forwards, listened on or only wanted. */
  forwards(): readonly (Forward | Claim)[];
}

/** What is to be captured; what is left out of the limits has its default. */
export interface CaptureQuestion extends Partial<CaptureLimits> {
  /** A SPEC that names forwards, such as `8080` or `53/udp`, or a container's name. Frames may be those of all. */
  of?: string | undefined;
  /** The multiplexer's frames instead of what its streams carry. */
  frames: boolean;
}

/** A container's name or id, as engines take them; a number is a port. */
const NAME = /^(?!\d+(-\d+)?$)[a-zA-Z0-9][\w.-]*$/;

/** The captures of a host that are under way. */
export class Captures {
  readonly #sources: CaptureSources;
  readonly #frames: FrameTaps;
  readonly #running = new Map<number, Capture>();
  #lastId = 0;

  constructor(sources: CaptureSources) {
    this.#sources = sources;
    this.#frames = new FrameTaps(sources.channel);
  }

  /** Whether start() has room for one more. */
  get full(): boolean {
    return this.#running.size >= MAX_CAPTURES;
  }

  /**
   * Begins a capture, which runs until it is finished, has reached a limit, or its stream is destroyed.
   * @throws UsageError when it cannot be said what is meant
   * @throws OperationError when there is nothing of that
   */
  start(question: CaptureQuestion): Capture {
    return question.frames ? this.#startFrames(question) : this.#startPackets(question);
  }

  /** Ends a capture in order. @returns whether there is one of this id */
  stop(id: number): boolean {
    const capture = this.#running.get(id);
    capture?.finish('it was told to stop');
    return capture !== undefined;
  }

  /** Ends all in order; resolves when they have been read to their end, or their readers have had time enough. */
  async close(): Promise<void> {
    const running = [...this.#running.values()];
    for (const capture of running) capture.finish('the host has stopped');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_READ_MS);
    });
    const read = running.map(({ stream }) => new Promise<void>((resolve) => stream.once('close', resolve)));
    await Promise.race([late, Promise.all(read)]);
    clearTimeout(timer);
  }

  // ---- inside ----------------------------------------------------------------------------------------

  #startPackets({ of, ...limits }: CaptureQuestion): Capture {
    if (of === undefined)
      throw new UsageError('which forward is to be captured? Name its port, such as 8080');
    const meant = this.#meant(of);
    let taps: ConnectionTaps | undefined;
    const capture = this.#begin({ ...this.#describe(of, meant.found), linkType: LINKTYPE_RAW }, limits, {
      flush: () => taps?.flush(),
      release: () => taps?.release(),
    });
    taps = new ConnectionTaps(this.#sources.records, meant.matches, capture);
    if (capture.over) taps.release();
    return capture;
  }

  #startFrames({ of, ...limits }: CaptureQuestion): Capture {
    const meant = of === undefined ? undefined : this.#meant(of);
    const subject = meant && of !== undefined ? this.#describe(of, meant.found) : EVERYTHING;
    let tap: FrameTap | undefined;
    const capture = this.#begin(
      { ...subject, name: `${subject.name}-frames`, linkType: LINKTYPE_FRAMES },
      limits,
      {
        flush: () => {},
        release: () => tap && this.#frames.delete(tap),
      },
    );
    tap = frameTap(capture, meant && this.#filterOf(meant));
    this.#frames.add(tap);
    return capture;
  }

  #begin(
    subject: Omit<CaptureSubject, 'version'>,
    limits: Partial<CaptureLimits>,
    { flush, release }: { flush(): void; release(): void },
  ): Capture {
    const id = ++this.#lastId;
    const capture = new Capture(id, { version: this.#sources.version, ...subject }, completeLimits(limits), {
      onEnding: flush,
      onOver: () => {
        this.#running.delete(id);
        release();
      },
    });
    this.#running.set(id, capture);
    return capture;
  }

  #meant(of: string): Meant {
    const matches = matcherOf(of);
    const found = this.#sources.forwards().filter(({ rule }) => matches(rule));
    if (found.length > 0) return { matches, found };
    throw new OperationError(
      `there is no forward of ${of} to be captured: 'portferry list' shows those there are`,
    );
  }

  #describe(of: string, found: readonly (Forward | Claim)[]): Omit<CaptureSubject, 'version' | 'linkType'> {
    const described = found.map(
      ({ rule }) => `${forwardId(rule)} → ${formatDestination(rule.destination)}${forWhom(rule)}`,
    );
    return {
      name: `portferry-${of}`,
      description: described.join('; '),
      comments: [`a capture of ${described.join('; ')}`],
    };
  }

  #filterOf({ matches, found }: Meant): FrameFilter {
    const destinations = new Set(found.map(({ rule }) => formatDestination(rule.destination)));
    const open = [...this.#sources.records.open].filter(({ forward }) => matches(forward.rule));
    return new FrameFilter(
      (destination) => destinations.has(destination),
      open.map(({ streamId }) => streamId),
    );
  }
}

interface Meant {
  matches(rule: ForwardRule): boolean;
  found: readonly (Forward | Claim)[];
}

const EVERYTHING = {
  name: 'portferry',
  description: 'the channel between host and guest',
  comments: ['the frames of the channel between host and guest'],
};

/** @throws UsageError */
function matcherOf(of: string): (rule: ForwardRule) => boolean {
  if (!NAME.test(of)) return parseSpecMatcher(of).matches;
  return ({ container, containerId = '' }) =>
    container === of || (containerId !== '' && of.startsWith(containerId));
}

function frameTap(capture: Capture, filter: FrameFilter | undefined): FrameTap {
  let comments: string[] = [];
  return {
    begun: (joined) => {
      if (!joined) filter?.begin();
      comments = [
        joined ? 'the channel was up before this capture: its handshakes are not in it' : 'a channel begins',
      ];
    },
    piece: (fromGuest, kind, bytes, length) => {
      for (const shown of filter ? filter.pick(kind, bytes, fromGuest) : [bytes]) {
        const packet = framePacket(fromGuest, kind, shown, shown === bytes ? length : shown.length);
        if (capture.add(packet, { outbound: !fromGuest, comments })) comments = [];
      }
    },
  };
}
