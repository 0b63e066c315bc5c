#!/usr/bin/env node
// What the code of the data path costs by itself, without a kernel: ns per frame of codec, multiplexer and
// splice. For developers, before and after a change; run `npm run build` first.
import { FrameRing } from '../build/protocol/frame-ring.js';
import { Multiplexer } from '../build/protocol/multiplexer.js';
import { Slab, SlabPool } from '../build/protocol/slab.js';
import { Splice } from '../build/protocol/splice.js';
import { FrameDecoder } from '../build/protocol/wire/decoder.js';
import { Command, encodeOpen, putDataHeader, putHeader, putWindow } from '../build/protocol/wire/frame.js';

const ROUNDS = 7;
const ROUND_MS = 200;
const DATA_HEADER_BYTES = 11;
const destination = { proto: 'tcp', ip: '127.0.0.1', port: 80 };

/** Runs `work`, which handles `frames` frames, for a while; the best round is the least disturbed one. */
function measure(name, frames, work) {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    let calls = 0;
    do {
      work();
      calls++;
    } while (performance.now() - startedAt < ROUND_MS);
    best = Math.min(best, ((performance.now() - startedAt) * 1e6) / (calls * frames));
  }
  console.log(`${name.padEnd(56)} ${best.toFixed(1).padStart(10)} ns per frame`);
}

const quiet = {
  handleOpen() {},
  handleClose() {},
  handleShutdown() {},
  handleData() {},
  handlePayload() {},
  handleWindow() {},
  handleExtension() {},
  handleUnknown() {},
};

function framesOf(count, length, put) {
  const bytes = Buffer.alloc(count * length);
  for (let index = 0; index < count; index++) put(bytes, index * length);
  return bytes;
}

function codec() {
  const decoder = new FrameDecoder(quiet);
  const small = framesOf(1000, DATA_HEADER_BYTES + 128, (into, at) => putDataHeader(into, at, 7, 128));
  measure('decode: Data of 128 bytes', 1000, () => decoder.push({ bytes: small }, 0, small.length));
  const windows = framesOf(1000, 15, (into, at) => putWindow(into, at, 7, 1_000_000));
  measure('decode: Window', 1000, () => decoder.push({ bytes: windows }, 0, windows.length));
  const closes = framesOf(1000, 7, (into, at) => putHeader(into, at, 7, Command.close, 7));
  measure('decode: Close', 1000, () => decoder.push({ bytes: closes }, 0, closes.length));
  const open = encodeOpen(7, destination);
  measure('decode: Open', 1, () => decoder.push({ bytes: open }, 0, open.length));
  measure('encode: Open', 1, () => encodeOpen(7, destination));
  measure('encode: Data header', 1, () => putDataHeader(small, 0, 7, 128));
}

/** Two multiplexers whose links deliver at the end of each turn, which is when flush() is called. */
function pair() {
  const pool = new SlabPool();
  const queues = [[], []];
  const deferred = [];
  const ends = [0, 1].map((side) => {
    const slab = new Slab(1 << 20, false);
    const end = { slab, streams: [] };
    end.multiplexer = new Multiplexer({
      link: { send: (bytes) => queues[1 - side].push(Buffer.from(bytes)) > 0, close() {}, destroy() {} },
      owner: {
        onReady() {},
        onStream: (stream) => end.onStream(stream),
        onGoAway() {},
        onPong() {},
        onIdle() {},
        onEnd(reason) {
          throw new Error(reason.message);
        },
      },
      pool,
      dialled: side === 0,
      version: 'micro',
      // As the host has it.
      ...(side === 0 && { frames: new FrameRing() }),
      defer: (run) => deferred.push(run),
    });
    return end;
  });
  const turn = () => {
    while (deferred.length > 0 || queues[0].length > 0 || queues[1].length > 0) {
      for (const run of deferred.splice(0)) run();
      for (const side of [0, 1])
        for (const bytes of queues[side].splice(0)) {
          bytes.copy(ends[side].slab.bytes);
          ends[side].multiplexer.receive(ends[side].slab, 0, bytes.length);
        }
    }
  };
  turn();
  return { ends, pool, turn };
}

const sink = (stream) => ({
  onData: (_slab, start, end) => stream().consumed(end - start),
  onShutdown() {},
  onWritable() {},
  onOpenResult() {},
  onClosed() {},
});

function multiplexer() {
  const { ends, pool, turn } = pair();
  const [near, far] = ends;
  far.onStream = (stream) => stream.accept(sink(() => stream));
  const streams = Array.from({ length: 64 }, () => {
    const stream = near.multiplexer.open(
      destination,
      sink(() => stream),
    );
    return stream;
  });
  turn();
  const small = new Slab(128, false);
  measure('multiplexer: 64 streams, one Data of 128 bytes each', 64, () => {
    for (const stream of streams) stream.write(small, DATA_HEADER_BYTES, DATA_HEADER_BYTES + 128, false);
    turn();
  });
  const bulk = pool.acquire();
  const length = bulk.room.length;
  for (let grown = 0; grown < 64; grown++) {
    streams[0].write(bulk, DATA_HEADER_BYTES, DATA_HEADER_BYTES + length, false);
    turn();
  }
  measure('multiplexer: one Data of 512 KiB (with two copies)', 1, () => {
    streams[0].write(bulk, DATA_HEADER_BYTES, DATA_HEADER_BYTES + length, false);
    turn();
  });
  far.onStream = (stream) => {
    stream.accept(sink(() => stream));
    stream.reportConnected(1);
    stream.shutdown();
  };
  measure('multiplexer: a stream, from Open to both Closes', 1, () => {
    near.multiplexer
      .open(
        destination,
        sink(() => undefined),
      )
      .shutdown();
    turn();
  });
}

/** A socket that takes everything at once, and reads when it is told to. */
class FakeSocket {
  unsent = 0;
  destroyed = false;
  send() {
    return true;
  }
  setHandler(handler) {
    this.handler = handler;
  }
  read(length) {
    return this.handler.onRead(this.handler.nextMemory(), length);
  }
  resume() {}
  pause() {}
  end() {}
  closeWhenSent() {}
  reset() {}
}

function splice() {
  const { ends, turn } = pair();
  const [near, far] = ends;
  const owner = { onOpenResult() {}, onFinished() {} };
  const attach = (makeStream) => {
    const socket = new FakeSocket();
    new Splice(owner, makeStream, (handler) => {
      socket.setHandler(handler);
      return socket;
    });
    return socket;
  };
  far.onStream = (stream) =>
    attach((handler) => {
      stream.accept(handler);
      return stream;
    });
  const sockets = Array.from({ length: 64 }, () =>
    attach((handler) => near.multiplexer.open(destination, handler)),
  );
  turn();
  measure('splice: 64 sockets read 128 bytes each, all the way', 64, () => {
    for (const socket of sockets) socket.read(128);
    turn();
  });
  for (let grown = 0; grown < 64; grown++) {
    sockets[0].read(60_000);
    turn();
  }
  measure('splice: a read of 64 KiB, all the way (two copies)', 1, () => {
    sockets[0].read(65_536);
    turn();
  });
}

codec();
multiplexer();
splice();
