import t from 'tap';
import { MAX_UNSENT_BYTES, takesDatagrams } from '../../../protocol/socket/udp-socket.js';

t.test('a socket takes datagrams until too much waits for the kernel', async (t) => {
  const waiting = (bytes: number) => ({ getSendQueueSize: () => bytes });
  t.ok(takesDatagrams(waiting(0)));
  t.ok(takesDatagrams(waiting(MAX_UNSENT_BYTES - 1)));
  t.notOk(takesDatagrams(waiting(MAX_UNSENT_BYTES)));
});
