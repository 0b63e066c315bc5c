import t from 'tap';
import { Stopwatch } from '../../protocol/stopwatch.js';

t.test('a stopwatch adds up, and reads the clock when it begins and ends alone', async (t) => {
  let now = 0;
  let reads = 0;
  const watch = new Stopwatch(() => {
    reads++;
    return now;
  });
  t.equal(watch.elapsed, 0);
  watch.stop();
  t.equal(reads, 0);
  watch.start();
  now = 5;
  watch.start();
  t.equal(reads, 1);
  t.equal(watch.elapsed, 5, 'also while it runs');
  watch.stop();
  now = 10;
  t.equal(watch.elapsed, 5);
  watch.start();
  now = 12;
  watch.stop();
  watch.stop();
  t.equal(watch.elapsed, 7);
});
