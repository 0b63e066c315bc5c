import t from 'tap';
import { OperationError } from '../../../protocol/errors.js';
import * as handlesModule from '../../../protocol/socket/handles.js';
import { testSockets } from '../../../protocol/socket/self-test.js';
import { settings } from '../../../protocol/socket/settings.js';
import * as socketOptions from '../../../protocol/socket/socket-options.js';
import { describeSockets } from '../../../protocol/socket/socket-report.js';
import { chooseKind, startSockets } from '../../../protocol/socket/start.js';
import { temporaryFolder } from '../transport/fixtures/pairs.js';

const { handles } = handlesModule;
const real = handles as handlesModule.Handles;

/** Node's state as it would be if one of its numbers were always the same. */
function stuck(index: number, value: number): Int32Array {
  const get = (state: Int32Array, key: string): unknown =>
    key === String(index) ? value : Reflect.get(state, key);
  return new Proxy(real.streamState, { get } as ProxyHandler<Int32Array>);
}

class Unmakeable {
  constructor() {
    throw new Error('it cannot be made');
  }
  oncomplete(): void {}
}

const NO_OUTCOME = /^no outcome within 300 ms$/;

/** Ways in which another Node's internals may differ, and what the self-test says then. */
const CHANGED: Record<string, [Partial<handlesModule.Handles>, RegExp]> = {
  'a read brings less than it says': [{ readOutcome: real.writeWasAsync }, NO_OUTCOME],
  'every write is said to wait': [{ streamState: stuck(real.writeWasAsync, 1) }, NO_OUTCOME],
  'an end has another number': [{ endOfFile: -1 }, /^an end in good order was reported as read EOF$/],
  'an errno is taken for an end': [{ endOfFile: -104 }, /^(an end|a reset)/],
  'something is thrown in a callback': [{ ShutdownRequest: Unmakeable }, /^it cannot be made$/],
  'something is thrown at once': [{ TcpConnectRequest: Unmakeable }, /^it cannot be made$/],
};

t.test('this Node passes the self-test with both kinds of socket', async (t) => {
  t.equal(await testSockets(real), undefined);
  t.equal(await testSockets(null), undefined);
  t.equal(process.hasUncaughtExceptionCaptureCallback(), false, 'exceptions are the process’s own again');
});

for (const [name, [changed, reason]] of Object.entries(CHANGED))
  t.test(`a Node whose internals are others fails the self-test: ${name}`, async (t) => {
    t.match(await testSockets({ ...real, ...changed }, 300), reason);
  });

t.test(
  'it can be made where no unix socket can be had, and where exceptions are taken by others',
  async (t) => {
    const { TMPDIR } = process.env;
    process.env['TMPDIR'] = `${temporaryFolder(t)}/missing`;
    process.setUncaughtExceptionCaptureCallback(() => t.fail('nothing is thrown'));
    try {
      t.equal(await testSockets(real), undefined);
      t.equal(process.hasUncaughtExceptionCaptureCallback(), true);
    } finally {
      process.setUncaughtExceptionCaptureCallback(null);
      if (TMPDIR === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = TMPDIR;
    }
  },
);

t.test('the handles are chosen when they work, else node:net with the reason', async (t) => {
  const outcomes =
    (handlesFail?: string, nodeFails?: string) => async (internals: handlesModule.Handles | null) =>
      internals ? handlesFail : nodeFails;
  t.strictSame(await chooseKind(real, outcomes()), { kind: 'handles' });
  t.strictSame(await chooseKind(real, outcomes('broken')), { kind: 'node:net', reason: 'broken' });
  t.strictSame(await chooseKind(null, outcomes()), {
    kind: 'node:net',
    reason: 'this Node does not offer them',
  });
  await t.rejects(chooseKind(real, outcomes('broken', 'broken, too')), {
    constructor: OperationError,
    message: /^sockets do not work on Node v.*: broken, too; with handles: broken; use /,
  });
});

t.test('a process is told once, and its sockets are made so', async (t) => {
  t.strictSame(await startSockets(20), { kind: 'handles', resetsAtDeath: true });
  t.strictSame(settings, { internals: handles, keepAliveSeconds: 20 });

  const withoutHandles = await t.mockImport<typeof import('../../../protocol/socket/start.js')>(
    '../../../protocol/socket/start.js',
    {
      '../../../protocol/socket/handles.ts': { ...handlesModule, handles: null },
      '../../../protocol/socket/settings.ts': { settings },
      '../../../protocol/socket/socket-options.ts': { ...socketOptions, canSetOptions: () => false },
    },
  );
  const report = await withoutHandles.startSockets(0);
  t.strictSame(report, { kind: 'node:net', reason: 'this Node does not offer them', resetsAtDeath: false });
  t.strictSame(settings, { internals: null, keepAliveSeconds: 0 });
});

t.test('people are told in a line', (t) => {
  t.equal(describeSockets({ kind: 'handles', resetsAtDeath: true }), "libuv's handles");
  t.match(
    describeSockets({ kind: 'node:net', reason: 'broken', resetsAtDeath: false }),
    /^node:net, which is slower \(handles: broken\); .* may look complete$/,
  );
  t.end();
});
