import { constants } from 'node:os';
import t from 'tap';
import type { RawSocket } from '../../../protocol/socket/raw-socket.js';
import { settings } from '../../../protocol/socket/settings.js';
import { checkConnectable, connectChannel } from '../../../protocol/transport/connect-channel.js';
import { listenForChannel } from '../../../protocol/transport/listen-for-channel.js';
import {
  connectVsockChannel,
  findVsockMeans,
  listenForVsockChannel,
} from '../../../protocol/transport/vsock.js';
import { freeVsockPort, VsockStandIn } from '../socket/fixtures/vsock-stand-in.js';
import { Recorder } from './fixtures/recorder.js';

const options = process.platform === 'linux' ? {} : { skip: 'AF_VSOCK is for Linux' };

t.test('a guest reaches its host without saying who that is', options, async (t) => {
  const vsock = new VsockStandIn();
  const port = await freeVsockPort();
  const { accepted } = await listen(t, vsock, { cid: undefined, port });
  const client = await connectVsockChannel(
    { kind: 'vsock', cid: undefined, port },
    undefined,
    () => vsock.means,
  );
  t.same(vsock.dialled, [2]);
  const recorder = attend(t, client);
  (await accepted).send(Buffer.from('welcome'));
  await recorder.until(() => recorder.text === 'welcome');
  t.equal(recorder.text, 'welcome');
});

t.test('who listens for one machine turns the others away', options, async (t) => {
  const vsock = new VsockStandIn();
  const port = await freeVsockPort();
  const { accepted, errors } = await listen(t, vsock, { cid: 5, port });
  const connect = (): Promise<RawSocket> =>
    connectVsockChannel({ kind: 'vsock', cid: 5, port }, undefined, () => vsock.means);
  vsock.peerCid = 4;
  const refused = attend(t, await connect());
  await refused.until(() => refused.ended || refused.closed);
  t.match(errors, [{ message: `a connection to vsock:5:${port} came from CID 4: turned away` }]);
  vsock.peerCid = 5;
  attend(t, await connect());
  t.ok(await accepted);
});

t.test('a failure says the address, the errno and what to try', options, async (t) => {
  const vsock = new VsockStandIn();
  const port = await freeVsockPort();
  const cases: [errno: keyof typeof constants.errno, advice: RegExp][] = [
    ['ECONNRESET', /ECONNRESET \(nothing listens on that port there; start the end that listens first\)/],
    ['ENODEV', /ENODEV \(nothing leads to that CID: in a VM, it needs a vsock device/],
    [
      'ETIMEDOUT',
      /ETIMEDOUT \(no answer from that CID; does the other end listen on that port, is its VM running/,
    ],
    ['EADDRNOTAVAIL', /EADDRNOTAVAIL \(this machine has no such address/],
  ];
  for (const [errno, message] of cases) {
    vsock.failures.connect = constants.errno[errno];
    const attempt = connectVsockChannel({ kind: 'vsock', cid: 9, port }, undefined, () => vsock.means);
    await t.rejects(attempt, { name: 'OperationError', message });
  }
  vsock.failures.socket = constants.errno.EAFNOSUPPORT;
  await t.rejects(listen(t, vsock, { cid: undefined, port }), {
    message: `cannot listen on vsock:${port}: EAFNOSUPPORT (this kernel has no AF_VSOCK; load its module: in a VM`,
  });
  const { errors } = await listen(t, vsock, { cid: undefined, port });
  await t.rejects(listen(t, vsock, { cid: undefined, port }), {
    message: /EADDRINUSE \(another process listens/,
  });
  t.same(errors, []);
});

t.test('what cannot be accepted is told', options, async (t) => {
  const vsock = new VsockStandIn();
  const { calls, handles } = vsock.means;
  const made: { onconnection(status: number): void }[] = [];
  const makePipeListener = (): never => {
    const listener = handles.makePipeListener();
    made.push(listener as never);
    return listener as never;
  };
  const errors: Error[] = [];
  const address = { kind: 'vsock', cid: undefined, port: await freeVsockPort() } as const;
  const means = { handles: { ...handles, makePipeListener }, calls };
  const stop = listenForVsockChannel(
    address,
    () => {},
    (error) => errors.push(error),
    () => means,
  );
  t.teardown(stop);
  made[0]?.onconnection(-constants.errno.EMFILE);
  t.match(errors, [{ message: `accepting on vsock:${address.port}: EMFILE (too many files are open` }]);
});

t.test('without handles, koffi or Linux it is refused in a sentence', async (t) => {
  const { internals } = settings;
  t.teardown(() => {
    settings.internals = internals;
  });
  const address = { kind: 'vsock', cid: 1, port: 5000 } as const;
  t.throws(() => findVsockMeans('x', 'darwin'), {
    name: 'OperationError',
    message:
      "x: AF_VSOCK is Linux's; here a VM's vsock is a unix socket: use unix:PATH (vfkit's socketURL), ",
  });
  t.throws(() => findVsockMeans('x', 'linux', () => null), {
    message:
      'x: this Node cannot use AF_VSOCK (koffi has no build for this machine); use another release of Node',
  });
  settings.internals = null;
  const message = /cannot (connect to|listen on) vsock:1:5000: .*AF_VSOCK/;
  t.throws(() => checkConnectable(address), { message });
  await t.rejects(connectChannel(address), { message });
  const refused = listenForChannel(
    address,
    () => {},
    () => {},
  );
  await t.rejects(refused, { message });
  t.throws(() => findVsockMeans('x', 'linux'), { message: /libuv's handles do not work/ });
  settings.internals = internals;
  if (process.platform === 'linux') t.ok(findVsockMeans('x'));
});

async function listen(t: Tap, vsock: VsockStandIn, to: { cid: number | undefined; port: number }) {
  const errors: Error[] = [];
  let arrived = (_socket: RawSocket): void => {};
  const accepted = new Promise<RawSocket>((resolve) => {
    arrived = resolve;
  });
  const onSocket = (socket: RawSocket): void => {
    t.teardown(() => socket.destroy());
    arrived(socket);
  };
  const address = { kind: 'vsock', ...to } as const;
  t.teardown(
    listenForVsockChannel(
      address,
      onSocket,
      (error) => errors.push(error),
      () => vsock.means,
    ),
  );
  return { accepted, errors };
}

function attend(t: Tap, socket: RawSocket): Recorder {
  t.teardown(() => socket.destroy());
  const recorder = new Recorder();
  socket.setHandler(recorder);
  socket.resume();
  return recorder;
}

type Tap = Pick<typeof t, 'teardown'>;
