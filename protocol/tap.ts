/** Sees what a connection, or a flow of datagrams, carries. Bytes are valid during the call. */
export interface Tap {
  /** The client has sent these. */
  fromClient(bytes: Uint8Array): void;
  /** The server has sent these, and the client gets them. */
  fromServer(bytes: Uint8Array): void;
  /** The client has sent its last byte; of a connection only. */
  clientEnded(): void;
  /** The server has. */
  serverEnded(): void;
}

/** What carries a connection, and can be looked at while it does. */
export interface Tapped {
  /** Undefined while nobody looks, which is nearly always: it is asked for at each read. */
  tap: Tap | undefined;
}

/** Sees the bytes of a channel, both ways. They are valid during the call. */
export interface ChannelTap {
  /**
   * A channel's bytes follow, from the handshakes on.
   * @param joined where the channel was up already: what of the peer's bytes lies before the next frame
   */
  begun(joined?: MidFrame): void;
  /** Handshake, or whole frames. */
  sent(bytes: Uint8Array): void;
  /** Cut anywhere. */
  received(bytes: Uint8Array): void;
}

/** Where in its input a decoder of frames is. */
export interface MidFrame {
  /** Of a frame that is cut before it could be decoded: what is here. */
  begun: Buffer;
  /** Bytes of a payload, or of a frame that is skipped, that are still to come. */
  left: number;
}
