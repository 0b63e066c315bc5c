import t from 'tap';
import { resetWord } from '../../../protocol/socket/reset-word.js';

t.test('what becomes of a connection that is reset', (t) => {
  t.equal(resetWord('tcp'), 'reset');
  t.match(resetWord('unix'), /^closed \(a unix socket knows no reset/);
  t.end();
});
