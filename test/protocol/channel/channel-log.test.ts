import net from 'node:net';
import t from 'tap';
import { ChannelLog } from '../../../protocol/channel/channel-log.js';
import { FEATURES } from '../../../protocol/wire/handshake.js';
import { ERROR, LogRecorder } from '../../fixtures/log-recorder.js';
import { Peer } from '../../fixtures/peer.js';
import { makeKeeper, STOPPED } from './fixtures/keeper.js';

t.test(
  'what cannot be accepted is an error of the log, summed up, and the next peer is served',
  async (t) => {
    const created: net.Server[] = [];
    const createServer = net.createServer;
    t.teardown(() => {
      net.createServer = createServer;
    });
    net.createServer = ((options: net.ServerOpts) => {
      const server = createServer(options);
      created.push(server);
      return server;
    }) as typeof createServer;
    const { keeper, owner, log, address } = makeKeeper(t, 'listen');
    await keeper.start();
    const failure = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' });
    for (let count = 0; count < 20; count++) created[0]?.emit('error', failure);
    const line = await log.line(/^cannot accept a channel/);
    t.match(line, {
      level: ERROR,
      err: { message: /EMFILE/ },
      msg: /\(accepting on unix:.*: EMFILE \(too many files are open; .*\); listening goes on$/,
    });
    await Peer.connect(t, address);
    await owner.signal.until(() => owner.ups === 1);
    await keeper.stop(STOPPED, 0);
    const lines = log.matching(/^cannot accept a channel/);
    t.ok(lines.length < 10, `${lines.length} lines for 20 failures`);
  },
);

t.test('what an outage has cost is said when it is over', async (t) => {
  const recorder = new LogRecorder();
  const log = new ChannelLog(recorder.logger);
  log.down('it broke', 'CHANNEL_CLOSED', 'unix:/c', 'waiting', true);
  log.up({ version: '1.2.3', features: new Set(FEATURES) }, '1.2.3', '2 connections were cut');
  t.match(
    recorder.lines[1]?.msg,
    /^the channel is up, .*, again after [\d.]+ s: 2 connections were cut meanwhile$/,
  );
});
