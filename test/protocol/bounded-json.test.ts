import fc from 'fast-check';
import t from 'tap';
import { countJsonValues, parseJson } from '../../protocol/bounded-json.js';

const count = (text: string, most = 1_000_000): number =>
  countJsonValues('the body', Buffer.from(text), most);

/** Objects, arrays, and what is in them. */
function valuesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce((sum: number, each) => sum + valuesIn(each), 1);
}

t.test('no value is overlooked, and what is in strings is none', (t) => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      const counted = count(JSON.stringify(value));
      // An empty object or array is counted as if it had one.
      return counted >= valuesIn(value) && counted <= 2 * valuesIn(value);
    }),
  );
  t.equal(count('"[[[[[[,,,,,,\\"[[[[[,"'), 1);
  t.equal(count('"[[[[[[\\\\",[1]'), 3);
  t.equal(count('"never ended [[[[[[[[[['), 1);
  t.equal(count('"ends with a backslash \\'), 1);
  t.end();
});

t.test('what is nested too deep, or too much, is refused before it is made', (t) => {
  t.same(parseJson('the body', Buffer.from('[{"a":[{}]}]'), 10), [{ a: [{}] }]);
  t.throws(() => count('[[[[[]]]]]'), {
    name: 'UsageError',
    message: 'the body has objects or arrays nested deeper than 4',
  });
  t.throws(() => count('{"a":'.repeat(1_000_000)), { message: /nested deeper/ });
  t.equal(count('[1,2,3]', 4), 4);
  t.throws(() => count('[1,2,3]', 3), { name: 'UsageError', message: 'the body has more than 3 values' });
  t.throws(() => count('{},'.repeat(1_000_000), 1000), { message: /more than 1000 values/ });
  t.end();
});

t.test('what is no JSON', (t) => {
  for (const text of ['', '{', '[1 2]', ']]]][', '\0'])
    t.throws(() => parseJson('the answer', Buffer.from(text), 10), {
      name: 'UsageError',
      message: /^the answer is not valid JSON: /,
    });
  t.end();
});
