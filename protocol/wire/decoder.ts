import { ProtocolError } from '../errors.js';
import { type Destination, decodeDestination, MAX_PATH_BYTES } from './destination.js';
import {
  Command,
  DATA_HEADER_BYTES,
  FIRST_EXTENSION_COMMAND,
  FRAME_HEADER_BYTES,
  MULTIPLEXED,
  readUint64,
  WINDOW_FRAME_BYTES,
} from './frame.js';

/** Memory that frames are decoded from; what else it is, is the business of those who use the decoder. */
export interface Chunk {
  readonly bytes: Buffer;
}

/** What the decoder has found; each frame is one call, a Data frame one for its header and one per piece. */
export interface FrameSink<C extends Chunk = Chunk> {
  handleOpen(id: number, destination: Destination): void;
  handleClose(id: number): void;
  handleShutdown(id: number): void;
  /** `length` payload bytes of stream `id` follow in calls of handlePayload. */
  handleData(id: number, length: number): void;
  /** The next piece of the last Data frame's payload: it lies in `chunk` from `start` up to `end`, not copied. */
  handlePayload(chunk: C, start: number, end: number): void;
  /** `allowed` is an integer below 2^53, or Infinity for what lies beyond. */
  handleWindow(id: number, allowed: number): void;
  /** `body` is only valid during the call. */
  handleExtension(command: number, id: number, body: Buffer): void;
  /** A frame of a later version was skipped; its command is none that is known here. */
  handleUnknown(command: number): void;
}

/** The longest Open: header, kind, protocol, length, path. */
const MAX_OPEN_BYTES = FRAME_HEADER_BYTES + 1 + 3 + MAX_PATH_BYTES;
/** The longest frame of an extension known here; a longer one is an error, not something to wait for. */
const MAX_KNOWN_EXTENSION_BYTES = 4096;
/** The shortest Open: header, kind, protocol, and the length of an empty path. */
const MIN_OPEN_BYTES = FRAME_HEADER_BYTES + 1 + 3;
const LAST_KNOWN_EXTENSION: number = Command.goAway;

/**
 * Turns a byte stream, cut anywhere, into frames. Headers that a cut divides are put together in a small
 * buffer; payload is handed on as it lies in the chunk. A length is checked as soon as it is known, before
 * anything waits for that many bytes.
 */
export class FrameDecoder<C extends Chunk = Chunk> {
  readonly #sink: FrameSink<C>;
  /** Payload bytes of the current Data frame that are still to come. */
  #payloadLeft = 0;
  /** Bytes of an unknown extension frame that are still to be skipped; after stop(), all. */
  #skipLeft = 0;
  /** A header that is not complete yet, and how much of it is here. */
  readonly #partial = Buffer.alloc(Math.max(MAX_OPEN_BYTES, MAX_KNOWN_EXTENSION_BYTES));
  #partialLength = 0;

  constructor(sink: FrameSink<C>) {
    this.#sink = sink;
  }

  /**
   * Takes the bytes of `chunk` from `at` up to `end`.
   * @throws ProtocolError when they are not frames; the stream cannot be read on after that
   */
  push(chunk: C, at: number, end: number): void {
    const { bytes } = chunk;
    while (at < end) {
      if (this.#payloadLeft > 0) {
        const next = Math.min(end, at + this.#payloadLeft);
        this.#payloadLeft -= next - at;
        this.#sink.handlePayload(chunk, at, next);
        at = next;
      } else if (this.#skipLeft > 0) {
        const next = Math.min(end, at + this.#skipLeft);
        this.#skipLeft -= next - at;
        at = next;
      } else if (this.#partialLength > 0 || end - at < FRAME_HEADER_BYTES) {
        at = this.#collect(bytes, at, end);
      } else {
        const length = headerLength(bytes, at);
        if (end - at < length) at = this.#collect(bytes, at, end);
        else {
          this.#decode(bytes, at, length);
          at += length;
        }
      }
    }
  }

  /** Where in its input it is: for somebody who reads the same bytes from here on. */
  get midFrame(): { begun: Buffer; left: number } {
    const begun = Buffer.from(this.#partial.subarray(0, this.#partialLength));
    return { begun, left: this.#payloadLeft + this.#skipLeft };
  }

  /** Skips all that is still to come, also of the chunk whose frame has just been handed on. */
  stop(): void {
    this.#payloadLeft = 0;
    this.#partialLength = 0;
    this.#skipLeft = Number.POSITIVE_INFINITY;
  }

  /** Adds to a divided header; decodes it when it is whole. */
  #collect(bytes: Buffer, at: number, end: number): number {
    let wanted =
      this.#partialLength < FRAME_HEADER_BYTES ? FRAME_HEADER_BYTES : headerLength(this.#partial, 0);
    at += this.#take(bytes, at, end, wanted);
    if (this.#partialLength < FRAME_HEADER_BYTES) return at;
    wanted = headerLength(this.#partial, 0);
    at += this.#take(bytes, at, end, wanted);
    if (this.#partialLength === wanted) {
      this.#partialLength = 0;
      this.#decode(this.#partial, 0, wanted);
    }
    return at;
  }

  #take(bytes: Buffer, at: number, end: number, wanted: number): number {
    const length = bytes.copy(
      this.#partial,
      this.#partialLength,
      at,
      Math.min(end, at + wanted - this.#partialLength),
    );
    this.#partialLength += length;
    return length;
  }

  #decode(bytes: Buffer, at: number, length: number): void {
    const command = bytes.readUInt8(at + 2);
    const id = bytes.readUInt32LE(at + 3);
    switch (command) {
      case Command.data:
        this.#payloadLeft = bytes.readUInt32LE(at + FRAME_HEADER_BYTES);
        this.#sink.handleData(id, this.#payloadLeft);
        return;
      case Command.window:
        this.#sink.handleWindow(id, readUint64(bytes, at + FRAME_HEADER_BYTES));
        return;
      case Command.open:
        this.#sink.handleOpen(id, decodeOpen(bytes.subarray(at + FRAME_HEADER_BYTES, at + length)));
        return;
      case Command.shutdown:
        this.#sink.handleShutdown(id);
        return;
      case Command.close:
        this.#sink.handleClose(id);
        return;
    }
    if (command <= LAST_KNOWN_EXTENSION) {
      this.#sink.handleExtension(command, id, bytes.subarray(at + FRAME_HEADER_BYTES, at + length));
      return;
    }
    this.#skipLeft = bytes.readUInt16LE(at) - FRAME_HEADER_BYTES;
    this.#sink.handleUnknown(command);
  }
}

/**
 * How many bytes of the frame at `at` must be here before it can be decoded: all of it but a payload, and
 * only the common header of a frame that will be skipped.
 * @throws ProtocolError FRAME_LENGTH or UNKNOWN_COMMAND
 */
function headerLength(bytes: Buffer, at: number): number {
  const total = bytes.readUInt16LE(at);
  const command = bytes.readUInt8(at + 2);
  const [least, most] = lengthBounds(command);
  if (total < least || total > most)
    throw new ProtocolError(
      'FRAME_LENGTH',
      `frame with command ${command} says it has ${total} bytes, allowed are ${least} to ${most}`,
    );
  return command > LAST_KNOWN_EXTENSION ? FRAME_HEADER_BYTES : total;
}

function lengthBounds(command: number): readonly [number, number] {
  switch (command) {
    case Command.open:
      return [MIN_OPEN_BYTES, MAX_OPEN_BYTES];
    case Command.close:
    case Command.shutdown:
      return [FRAME_HEADER_BYTES, FRAME_HEADER_BYTES];
    case Command.data:
      return [DATA_HEADER_BYTES, DATA_HEADER_BYTES];
    case Command.window:
      return [WINDOW_FRAME_BYTES, WINDOW_FRAME_BYTES];
  }
  if (command < FIRST_EXTENSION_COMMAND)
    throw new ProtocolError(
      'UNKNOWN_COMMAND',
      `frame with command ${command}, which is unknown and cannot be skipped`,
    );
  return [FRAME_HEADER_BYTES, command > LAST_KNOWN_EXTENSION ? 0xffff : MAX_KNOWN_EXTENSION_BYTES];
}

function decodeOpen(body: Buffer): Destination {
  const kind = body.readUInt8(0);
  if (kind !== MULTIPLEXED)
    throw new ProtocolError(
      'DEDICATED_STREAM',
      `Open of kind ${kind}; only ${MULTIPLEXED}, multiplexed, is served`,
    );
  return decodeDestination(body.subarray(1));
}
