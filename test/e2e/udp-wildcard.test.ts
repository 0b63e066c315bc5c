import t from 'tap';
import { knowsAddressAsked } from '../../protocol/socket/packet-info-socket.js';
import { startEcho, UdpClient } from '../fixtures/udp-echo.js';
import { Pair } from './fixtures/pair.js';

t.test(
  'a UDP forward on every address answers from the one that was asked',
  { skip: knowsAddressAsked() ? false : 'this system does not tell which address was asked' },
  async (t) => {
    const { port } = await startEcho(t);
    const pair = await Pair.start(t, `*:0:${port}/udp`);
    const hostPort = Number((await pair.host.line(/^udp \*:(\d+)/))[1]);
    const clients = await Promise.all(
      ['127.0.0.1', '127.0.0.2', '127.3.2.1'].map((ip) => UdpClient.connect(t, hostPort, ip)),
    );
    for (const [index, client] of clients.entries()) {
      client.send(`question ${index}`);
      await client.answers(1);
      t.same(client.received.map(String), [`question ${index}`]);
    }
    t.match((await pair.run('list')).lines.slice(1), [/^udp \*:\d+ .* 3 +3 +\d+ B /]);
  },
);
