import { MAX_WINDOW_BYTES } from '../../../protocol/window.js';
import { FrameDecoder, type FrameSink } from '../../../protocol/wire/decoder.js';
import { EARLY_DATA_BYTES } from '../../../protocol/wire/extension.js';
import { Command } from '../../../protocol/wire/frame.js';
import { HandshakeDecoder } from '../../../protocol/wire/handshake.js';
import { Violation, type World } from './world.js';

/** Who looks at what goes through a channel. */
export interface WireObserver {
  sent(bytes: Buffer): void;
  delivered(bytes: Buffer): void;
}

/** One end's half of a stream, as the frames that it has sent tell. */
interface Half {
  sent: number;
  /** What it may have sent: told by the other end, and arrived. */
  allowed: number;
  /** What of it has arrived. */
  arrived: number;
  /** The last Window that it has sent. */
  granted: number;
  shut: boolean;
  closed: boolean;
  /** Its Close has arrived. */
  closeArrived: boolean;
}

/** Holds the frames that two ends send against the rules, whatever the ends themselves think. */
export class WireCheck {
  readonly #world: World;
  readonly #streams = new Map<number, [Half, Half]>();
  readonly #early: number;
  readonly ends: [WireObserver, WireObserver];

  /** @param early whether both ends have announced early data */
  constructor(world: World, early: boolean) {
    this.#world = world;
    this.#early = early ? EARLY_DATA_BYTES : 0;
    const [a, b] = [new Direction(this, 0), new Direction(this, 1)];
    // What is delivered at one end was sent by the other one.
    this.ends = [
      { sent: (bytes) => a.sent(bytes), delivered: (bytes) => b.delivered(bytes) },
      { sent: (bytes) => b.sent(bytes), delivered: (bytes) => a.delivered(bytes) },
    ];
  }

  note(from: number, what: string): void {
    this.#world.note(`   ${from === 0 ? '→' : '←'} ${what}`);
  }

  opened(from: 0 | 1, id: number): void {
    const halves = this.#streams.get(id);
    if (halves && !(halves[from].closed && halves[from === 0 ? 1 : 0].closeArrived))
      throw new Violation(`an Open has the id ${id}, which is in use`);
    this.#streams.set(id, [this.#half(), this.#half()]);
  }

  /** @returns the halves of the one that sends and of the other one */
  halves(from: 0 | 1, id: number, what: string): [Half, Half] {
    const halves = this.#streams.get(id);
    if (!halves) throw new Violation(`${what} for stream ${id}, which was never opened`);
    const own = halves[from];
    if (own.closed) throw new Violation(`${what} for stream ${id} after its Close`);
    return [own, halves[from === 0 ? 1 : 0]];
  }

  /** What follows from frames that arrive. */
  arrivals(from: 0 | 1): FrameSink {
    const other = from === 0 ? 1 : 0;
    const ignore = (): void => {};
    const half = (end: 0 | 1, id: number): Half | undefined => this.#streams.get(id)?.[end];
    const close = (id: number): void => {
      const own = half(from, id);
      if (own) own.closeArrived = true;
    };
    return {
      handleOpen: ignore,
      handleClose: close,
      handleShutdown: ignore,
      handleData: (id, length) => {
        const own = half(from, id);
        if (own) own.arrived += length;
      },
      handlePayload: ignore,
      handleWindow: (id, allowed) => {
        const sender = half(other, id);
        if (sender) sender.allowed = Math.max(sender.allowed, allowed);
      },
      handleExtension: (command, id) => {
        if (command === Command.reset) close(id);
      },
      handleUnknown: ignore,
    };
  }

  #half(): Half {
    return {
      sent: 0,
      allowed: this.#early,
      arrived: 0,
      granted: this.#early,
      shut: false,
      closed: false,
      closeArrived: false,
    };
  }
}

/** Frames of one end, as a byte stream cut anywhere. */
class Frames {
  readonly #handshake = new HandshakeDecoder();
  readonly #decoder: FrameDecoder;

  constructor(sink: FrameSink) {
    this.#decoder = new FrameDecoder(sink);
  }

  push(bytes: Buffer): void {
    const at = this.#handshake.payload ? 0 : this.#handshake.push(bytes, 0, bytes.length);
    if (at < bytes.length) this.#decoder.push({ bytes }, at, bytes.length);
  }
}

/** What one end sends, when it does, and when it arrives. */
class Direction implements FrameSink {
  readonly #check: WireCheck;
  readonly #from: 0 | 1;
  readonly #sent = new Frames(this);
  readonly #arrived: Frames;

  constructor(check: WireCheck, from: 0 | 1) {
    this.#check = check;
    this.#from = from;
    this.#arrived = new Frames(check.arrivals(from));
  }

  sent(bytes: Buffer): void {
    this.#sent.push(bytes);
  }

  delivered(bytes: Buffer): void {
    this.#arrived.push(bytes);
  }

  handleOpen(id: number): void {
    this.#check.note(this.#from, `Open ${id}`);
    this.#check.opened(this.#from, id);
  }

  handleClose(id: number): void {
    this.#close(id, 'Close');
  }

  handleShutdown(id: number): void {
    this.#check.note(this.#from, `Shutdown ${id}`);
    const [own] = this.#check.halves(this.#from, id, 'Shutdown');
    if (own.shut) throw new Violation(`a second Shutdown for stream ${id}`);
    own.shut = true;
  }

  handleData(id: number, length: number): void {
    this.#check.note(this.#from, `Data ${id}: ${length} bytes`);
    const [own] = this.#check.halves(this.#from, id, 'Data');
    if (own.shut) throw new Violation(`Data for stream ${id} after its Shutdown`);
    own.sent += length;
    if (own.sent > own.allowed)
      throw new Violation(`${own.sent} bytes were sent on stream ${id}, and ${own.allowed} were allowed`);
  }

  handlePayload(): void {}

  handleWindow(id: number, allowed: number): void {
    this.#check.note(this.#from, `Window ${id}: ${allowed}`);
    const [own, other] = this.#check.halves(this.#from, id, 'Window');
    if (allowed < own.granted)
      throw new Violation(`a Window of ${allowed} for stream ${id} after one of ${own.granted}`);
    if (allowed - other.arrived > MAX_WINDOW_BYTES)
      throw new Violation(`stream ${id} is allowed ${allowed - other.arrived} bytes more`);
    own.granted = allowed;
  }

  handleExtension(command: number, id: number): void {
    if (command === Command.reset) this.#close(id, 'Reset');
    else this.#check.note(this.#from, `extension ${command} ${id}`);
  }

  handleUnknown(command: number): void {
    throw new Violation(`a frame with the unknown command ${command}`);
  }

  #close(id: number, what: string): void {
    this.#check.note(this.#from, `${what} ${id}`);
    const [own] = this.#check.halves(this.#from, id, what);
    own.closed = true;
  }
}
