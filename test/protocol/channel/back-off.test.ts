import t from 'tap';
import { BackOff } from '../../../protocol/channel/back-off.js';

const pauses = (backOff: BackOff): number[] => Array.from({ length: 10 }, () => backOff.next());

t.test('pauses grow up to a bound, which is higher for commands, and begin anew after success', async (t) => {
  const socket = new BackOff(false);
  t.same(pauses(socket), [50, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000]);
  socket.reset();
  t.equal(socket.next(), 50);
  t.same(pauses(new BackOff(true)), [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});
