import { join } from 'node:path';
import t from 'tap';
import { temporaryFolder } from '../../fixtures/programs.js';
import { LineRelay } from '../transport/fixtures/line-relay.js';
import { makeKeeper, STOPPED } from './fixtures/keeper.js';

t.test('two keepers on one line agree on a channel, and again when one of them comes back', async (t) => {
  const relay = await LineRelay.open(t, temporaryFolder(t));
  const at = (path: string) => makeKeeper(t, 'connect', { address: { kind: 'virtserial', path } });
  const host = at(relay.hostPath);
  const guest = at(relay.guestPath);
  await Promise.all([host.keeper.start(), guest.keeper.start()]);
  for (const { owner, keeper } of [host, guest]) {
    await owner.signal.until(() => owner.ups === 1);
    t.match(keeper.state, { state: 'connected', peer: { version: 'test' } });
  }
  // Had both the same part, their streams would have the same numbers.
  const web = { proto: 'tcp', ip: '127.0.0.1', port: 80 } as const;
  const handler = { onData() {}, onShutdown() {}, onWritable() {}, onOpenResult() {}, onClosed() {} };
  for (const { keeper } of [host, guest]) keeper.open(web, handler);
  for (const { owner } of [host, guest]) await owner.signal.until(() => owner.streams.length === 1);

  await guest.keeper.stop(STOPPED, 0);
  await host.owner.signal.until(() => host.owner.downs.length === 1);
  const next = at(relay.guestPath);
  await next.keeper.start();
  for (const [{ owner }, ups] of [
    [host, 2],
    [next, 1],
  ] as const)
    await owner.signal.until(() => owner.ups === ups);
});

t.test('a line whose path no socket can have is refused at once', async (t) => {
  const path = join(temporaryFolder(t), 'd'.repeat(120));
  const { keeper } = makeKeeper(t, 'connect', { address: { kind: 'virtserial', path } });
  await t.rejects(keeper.start(), { name: 'OperationError', message: /^the socket path .* bytes long/ });
});
