import t, { type Test } from 'tap';
import { GuestInspector } from '../../../host/diagnose/guest-inspector.js';
import { startGuest } from '../../fixtures/guest.js';
import { Peer } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';
import { makeWay } from './fixtures/make-path.js';

const QUERY = { published: '8080' };

/**
 * A guest that answers on each stream with this text.
 * @param answer undefined: nothing
 */
async function look(
  t: Test,
  answer: string | undefined,
  timeoutMs?: number,
): ReturnType<GuestInspector['look']> {
  const address = { kind: 'unix', path: `${temporaryFolder(t)}/c` } as const;
  const guest = await Peer.listen(t, address);
  const host = await Peer.connect(t, address);
  const inspector = new GuestInspector(
    {
      takesStreams: true,
      obstacle: { by: 'channel', message: 'none' },
      open: (destination, handler) => host.multiplexer.open(destination, handler),
    },
    timeoutMs,
  );
  const looking = inspector.look(QUERY);
  const stream = await guest.accept();
  stream.stream.reportConnected(0);
  if (answer !== undefined) stream.send(answer);
  return looking;
}

function http(status: string, body: string): string {
  return `HTTP/1.1 ${status}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

t.test('an answer', async (t) => {
  const way = makeWay();
  t.same(await look(t, http('200 OK', JSON.stringify(way))), { found: way });
  t.same(await look(t, http('503 x', '{"message":"ask again"}')), { unseen: 'ask again' });
  t.same(await look(t, http('500 x', '')), { unseen: 'the host has answered with 500' });
});

t.test('what is no answer', async (t) => {
  t.match(await look(t, http('200 OK', '{}')), { unseen: /no report of a way/ });
  t.match(await look(t, http('200 OK', '{')), { unseen: /not valid JSON/ });
  t.match(await look(t, http('200 OK', `[${Array(4_096).fill(0)}]`)), { unseen: /more than 4096 values/ });
  t.match(await look(t, http('200 OK', '[[[[[[[]]]]]]]')), { unseen: /nested deeper than 6/ });
  t.match(await look(t, 'SSH-2.0\r\n\r\n'), { unseen: /Parse Error|Expected HTTP/ });
  t.match(await look(t, http('200 OK', `"${'x'.repeat(300_000)}"`)), { unseen: /longer|more than/ });
});

t.test('a guest that does not answer', async (t) => {
  t.same(await look(t, undefined, 20), { unseen: 'the guest has not answered for 0.02 s', silent: true });
});

t.test('no channel', async (t) => {
  const inspector = new GuestInspector({
    takesStreams: false,
    obstacle: { by: 'channel', message: 'no channel' },
    open: () => {
      throw new Error('unreachable');
    },
  });
  t.same(await inspector.look(QUERY), { unseen: 'no channel' });
});

t.test('a guest that has no such service', async (t) => {
  const refusing = (code: string | undefined) =>
    new GuestInspector({
      takesStreams: true,
      obstacle: { by: 'channel', message: '' },
      open: (_destination, handler) => {
        const result =
          code === undefined ? undefined : { step: 'service', micros: 0, reason: { code, message: 'no' } };
        setImmediate(() => handler.onClosed({ how: 'refused', ...(result && { result }) } as never));
        return { write: () => true, reset: () => {}, shutdown: () => {}, consumed: () => {} } as never;
      },
    });
  t.match(await refusing('ENOENT').look(QUERY), {
    unseen: /^the guest does not look: no; it may be an older/,
  });
  t.match(await refusing(undefined).look(QUERY), { unseen: /^the guest is no portferry-guest/ });
});

t.test('a stream that ends in good order before an answer', async (t) => {
  const { host } = await startGuest(t);
  const inspector = new GuestInspector({
    takesStreams: true,
    obstacle: { by: 'channel', message: '' },
    open: (_destination, handler) => host.multiplexer.open({ proto: 'unix', path: '/nonexistent' }, handler),
  });
  t.match(await inspector.look(QUERY), { unseen: /ENOENT|does not look/ });
});
