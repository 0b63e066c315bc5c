import type { Readable } from 'node:stream';
import { messageOf } from '../../protocol/errors.js';
import { BlockReader } from './block-reader.js';
import type { CaptureSink } from './capture-file.js';

/** A capture as the control API's client gives it. */
export interface CaptureSource {
  stream: Readable;
  stop(): Promise<void>;
}

export interface CaptureSummary {
  packets: number;
  /** Packets that the host had to drop, for they were not read in time; null where it could not tell any more. */
  dropped: number | null;
  /** Of the file. */
  bytes: number;
  seconds: number;
  /** Why it has ended. */
  ending: string;
}

export interface CaptureRun {
  source: CaptureSource;
  sink: CaptureSink;
  /** Ends the capture in order. */
  stop: AbortSignal;
  /** Told now and then how far it is. */
  onProgress?(packets: number, bytes: number): void;
}

/**
 * Moves a capture into its sink until it has ended, for whatever reason: what is written by then is whole.
 * @throws OperationError when the sink cannot be written to
 */
export async function runCapture({ source, sink, stop, onProgress }: CaptureRun): Promise<CaptureSummary> {
  const { stream } = source;
  const startedAt = performance.now();
  const reader = new BlockReader();
  const end = (): void => {
    // A host that cannot be told is left.
    source.stop().catch(() => stream.destroy());
  };
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  let ending: string | undefined;
  try {
    for await (const chunk of stream) {
      if (!(await sink.write(reader.push(chunk as Buffer)))) {
        ending = 'nobody reads it any more';
        break;
      }
      onProgress?.(reader.packets, reader.bytes);
    }
  } catch (thrown) {
    if ((thrown as Error).name === 'OperationError') throw thrown;
    ending = `the host has gone (${messageOf(thrown)})`;
  } finally {
    stop.removeEventListener('abort', end);
    stream.destroy();
    await sink.close();
  }
  return {
    packets: reader.packets,
    dropped: reader.dropped ?? null,
    bytes: reader.bytes,
    seconds: (performance.now() - startedAt) / 1000,
    ending: reader.ending ?? ending ?? 'the host has ended it',
  };
}
