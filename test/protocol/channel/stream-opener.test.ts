import { join } from 'node:path';
import t from 'tap';
import { ChannelKeeper } from '../../../protocol/channel/channel-keeper.js';
import type { StreamOpener } from '../../../protocol/channel/stream-opener.js';
import { SlabPool } from '../../../protocol/slab.js';
import { notAccepted } from '../../../protocol/stream.js';
import type { ChannelAddress } from '../../../protocol/transport/channel-address.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { temporaryFolder } from '../../fixtures/programs.js';

const WEB = { proto: 'tcp', ip: '127.0.0.1', port: 80 } as const;

t.test('a keeper opens streams while it has a channel, and says why where it has none', async (t) => {
  const log = new LogRecorder();
  const address: ChannelAddress = { kind: 'unix', path: join(temporaryFolder(t), 'c') };
  const keeper = new ChannelKeeper({
    ...{ mode: 'listen', address, version: 'test', pool: new SlabPool(), logger: log.logger },
    owner: { onUp() {}, onStream() {}, onDown() {} },
  });
  const opener: StreamOpener = keeper;
  await keeper.start();
  t.teardown(() => keeper.stop({ code: 'DONE', message: 'the test is over' }, 0));
  t.notOk(opener.takesStreams);
  t.match(opener.obstacle, { by: 'channel', message: /^no channel on unix:.* \(no guest has come yet\)/ });
  t.throws(() => opener.open(WEB, notAccepted), { name: 'OperationError', message: /^no channel on unix:/ });

  const guest = await Peer.connect(t, address);
  await log.line(/^the channel is up/);
  t.ok(opener.takesStreams);
  const source = { client: { ip: '127.0.0.1', port: 1 }, listener: undefined };
  opener.open(WEB, notAccepted, source);
  t.match(await guest.nextStream(), { source, stream: { destination: WEB } });
  guest.multiplexer.goAway({ code: 'STOPPED', message: 'told to stop' });
  await log.line(/takes no new streams/);
  t.notOk(opener.takesStreams);
  t.match(opener.obstacle, { by: 'guest', message: /^the guest takes no new streams/ });
});
