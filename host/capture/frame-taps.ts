import type { ChannelTap, MidFrame } from '../../protocol/tap.js';
import { FrameCutter, type PieceKind } from './frame-cutter.js';
import { MAX_SNAP_LENGTH } from './limits.js';

/** Sees the pieces of a channel: handshakes and frames. `bytes` are valid during the call. */
export interface FrameTap {
  /** @param joined whether the channel was up before */
  begun(joined: boolean): void;
  piece(fromGuest: boolean, kind: PieceKind, bytes: Buffer, length: number): void;
}

/** What channels can be looked at by; a ChannelKeeper. */
export interface ObservableChannel {
  observe(tap: ChannelTap | undefined): void;
}

/** Cuts the channel's bytes once for all who look at frames, and only while somebody does. */
export class FrameTaps implements ChannelTap {
  readonly #channel: ObservableChannel;
  readonly #taps = new Set<FrameTap>();
  #sent: FrameCutter | undefined;
  #received: FrameCutter | undefined;

  constructor(channel: ObservableChannel) {
    this.#channel = channel;
  }

  add(tap: FrameTap): void {
    this.#taps.add(tap);
    if (this.#taps.size > 1) {
      tap.begun(true);
      return;
    }
    this.#sent = this.#cutter(false);
    this.#received = this.#cutter(true);
    this.#channel.observe(this);
  }

  delete(tap: FrameTap): void {
    if (!this.#taps.delete(tap) || this.#taps.size > 0) return;
    this.#channel.observe(undefined);
    this.#sent = this.#received = undefined;
  }

  begun(joined?: MidFrame): void {
    for (const tap of this.#taps) tap.begun(joined !== undefined);
    // What is sent is whole frames.
    this.#sent?.begin(joined && { begun: Buffer.alloc(0), left: 0 });
    this.#received?.begin(joined);
  }

  sent(bytes: Uint8Array): void {
    this.#sent?.push(bytes);
  }

  received(bytes: Uint8Array): void {
    this.#received?.push(bytes);
  }

  #cutter(fromGuest: boolean): FrameCutter {
    return new FrameCutter((kind, bytes, length) => {
      for (const tap of this.#taps) tap.piece(fromGuest, kind, bytes, length);
    }, MAX_SNAP_LENGTH);
  }
}
