import t from 'tap';
import { ByteCollector } from '../../protocol/byte-collector.js';

t.test('pieces of any size become one run of bytes', (t) => {
  const collector = new ByteCollector();
  t.equal(collector.take().length, 0);
  const text = 'abcdefghij'.repeat(1000);
  for (let at = 0, length = 0; at < text.length; at += length, length = (length * 7 + 1) % 50)
    collector.append(Buffer.from(text.slice(at, at + length)));
  t.equal(collector.length, text.length);
  t.equal(collector.take().toString(), text);
  t.equal(collector.length, 0);
  collector.append(Buffer.from('x'));
  t.equal(collector.take().toString(), 'x', 'and then begins anew');
  t.end();
});

t.test('what was taken does not change, and a piece may be used again', (t) => {
  const collector = new ByteCollector();
  const piece = Buffer.from('one');
  collector.append(piece);
  piece.fill('-');
  const taken = collector.take();
  collector.append(Buffer.from('two'));
  t.same([taken.toString(), collector.take().toString()], ['one', 'two']);
  t.end();
});

t.test('a byte costs two at most', (t) => {
  const collector = new ByteCollector();
  for (let count = 0; count < 100_000; count++) collector.append(Buffer.from([1]));
  t.ok(collector.take().buffer.byteLength <= 200_000);
  t.end();
});

t.test('a part of it is taken, and the rest stays', (t) => {
  const collector = new ByteCollector();
  collector.append(Buffer.from('one two'));
  const taken = collector.take(4);
  collector.append(Buffer.from(' three'));
  t.same([taken.toString(), collector.length], ['one ', 9]);
  t.equal(collector.take(100).toString(), 'two three');
  t.equal(collector.length, 0);
  t.end();
});
