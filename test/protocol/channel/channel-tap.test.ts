import net from 'node:net';
import t from 'tap';
import type { ChannelTap, MidFrame } from '../../../protocol/tap.js';
import { encodePing } from '../../../protocol/wire/extension.js';
import { encodeHandshake, FEATURES } from '../../../protocol/wire/handshake.js';
import { Signal } from '../fixtures/signal.js';
import { makeKeeper } from './fixtures/keeper.js';

/** Notes what it sees. */
class Recorder implements ChannelTap {
  readonly begins: (MidFrame | undefined)[] = [];
  readonly signal = new Signal();
  sentBytes = 0;
  receivedBytes = 0;

  begun(joined?: MidFrame): void {
    this.begins.push(joined);
    this.signal.wake();
  }

  sent(bytes: Uint8Array): void {
    this.sentBytes += bytes.length;
    this.signal.wake();
  }

  received(bytes: Uint8Array): void {
    this.receivedBytes += bytes.length;
    this.signal.wake();
  }
}

t.test(
  'a channel is looked at from its handshakes, from when they are complete, or from any frame',
  async (t) => {
    const { keeper, owner, address } = makeKeeper(t, 'listen');
    const early = new Recorder();
    keeper.observe(early);
    await keeper.start();
    const connect = async (): Promise<net.Socket> => {
      const socket = net.connect(address as { kind: 'unix'; path: string });
      t.teardown(() => socket.destroy());
      await new Promise((resolve) => socket.once('data', resolve));
      return socket.resume();
    };
    const handshake = encodeHandshake('test', FEATURES);
    const first = await connect();
    t.same(early.begins, [undefined]);
    t.ok(early.sentBytes > 0, 'the own handshake is seen');

    keeper.observe(undefined);
    const late = new Recorder();
    keeper.observe(late);
    t.same(late.begins, [], 'the handshake is under way');
    // The rest of what was read with it is no frame that the tap has to see whole.
    const ping = encodePing(1);
    first.write(Buffer.concat([handshake, ping.subarray(0, 9)]));
    await late.signal.until(() => late.begins.length > 0);
    t.same(late.begins, [{ begun: ping.subarray(0, 9), left: 0 }]);
    t.equal(owner.ups, 1);
    first.write(ping.subarray(9));
    await late.signal.until(() => late.receivedBytes > 0 && late.sentBytes >= ping.length);
    t.equal(late.receivedBytes, ping.length - 9);

    const last = new Recorder();
    keeper.observe(last);
    keeper.observe(last);
    t.same(last.begins, [{ begun: Buffer.alloc(0), left: 0 }]);
    keeper.observe(undefined);
    const before = early.receivedBytes + late.receivedBytes;
    first.destroy();
    await owner.signal.until(() => owner.downs.length === 1);
    t.equal(early.receivedBytes + late.receivedBytes, before);
  },
);
