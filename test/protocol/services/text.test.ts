import t from 'tap';
import { textForPeople } from '../../../protocol/services/text.js';

t.test('text of others is one line of a bounded length', (t) => {
  t.equal(textForPeople('as it is'), 'as it is');
  t.equal(textForPeople('a\nb\u001b[2J\u009b'), 'a b [2J ');
  t.equal(textForPeople('x'.repeat(1000)), 'x'.repeat(1000));
  t.equal(textForPeople('x'.repeat(1_000_000)), `${'x'.repeat(999)}…`);
  t.end();
});
