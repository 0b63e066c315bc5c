// Runs in the VM, bundled: the compliance suite over AF_VSOCK, and what a failure is called there.
//   vsock.mjs HERE OUTSIDE    through the device: what the test outside connects to, and where it listens
import { rmSync } from 'node:fs';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { connectChannel } from '../../../protocol/transport/connect-channel.js';
import { listenForChannel } from '../../../protocol/transport/listen-for-channel.js';
import { comply } from '../../protocol/fixtures/comply.js';
import { withoutLocalVsock } from '../../protocol/fixtures/local-vsock.js';
import { acceptOneOf } from '../../protocol/fixtures/tunnel.js';

const HOST_CID = 2;
const LOCAL_CID = 1;
/** Some VM that is not there. */
const UNKNOWN_CID = 77;
/** Where nobody listens, neither here nor outside. */
const NOBODY = 4999;

const [here, outside] = process.argv.slice(2).map(Number) as [number, number];

t.test('AF_VSOCK needs no /dev/vsock', async (t) => {
  rmSync('/dev/vsock');
  t.equal(withoutLocalVsock(), false);
});

t.test('over vsock_loopback', (t) => comply(t, { link: 'vsock', slow: true }));

t.test('through the device', (t) => comply(t, { link: throughDevice, slow: true }));

t.test('a failure says the address, the errno and what to try', async (t) => {
  const connect = (cid: number | undefined, port: number): Promise<RawSocket> =>
    connectChannel({ kind: 'vsock', cid, port });
  await t.rejects(connect(LOCAL_CID, NOBODY), {
    name: 'OperationError',
    message: `cannot connect to vsock:${LOCAL_CID}:${NOBODY}: ECONNRESET (nothing listens on that port there; start the`,
  });
  // vhost-device-vsock answers neither.
  for (const cid of [HOST_CID, UNKNOWN_CID])
    await t.rejects(connect(cid, NOBODY), {
      name: 'OperationError',
      message: `cannot connect to vsock:${cid}:${NOBODY}: ETIMEDOUT (no answer from that CID; does the other end listen`,
    });
  const listen = (): ReturnType<typeof listenForChannel> => listenForChannel(own(here), ignore, ignore);
  const listener = await listen();
  await t.rejects(listen(), {
    name: 'OperationError',
    message: `cannot listen on vsock:${here}: EADDRINUSE (another process listens on that port; stop that one,`,
  });
  await listener.close();
  await (await listen()).close();
});

function own(port: number): ChannelAddress {
  return { kind: 'vsock', cid: undefined, port };
}

/**
 * Two connections through the device, which are joined outside: one that was made there, so that it is accepted
 * here, and one that is accepted there.
 */
function throughDevice(): Promise<[RawSocket, RawSocket]> {
  return acceptOneOf(own(here), () => connectChannel(own(outside)));
}

function ignore(): void {}
