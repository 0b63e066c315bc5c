import t from 'tap';
import { Slab, SlabPool } from '../../protocol/slab.js';
import { DATA_HEADER_BYTES } from '../../protocol/wire/frame.js';

t.test('a slab leaves room for a Data header before what is read into it', (t) => {
  const slab = new Slab(100, false);
  t.equal(slab.bytes.length, DATA_HEADER_BYTES + 100);
  t.equal(slab.room.length, 100);
  slab.room[0] = 7;
  t.equal(slab.bytes[DATA_HEADER_BYTES], 7, 'the same memory');
  t.end();
});

t.test('a slab is lent again when its last holder has let go, not before', (t) => {
  const pool = new SlabPool();
  const slab = pool.acquire();
  t.equal(pool.out, 1);
  slab.holds++;
  pool.release(slab);
  t.equal(pool.out, 1);
  const other = pool.acquire();
  t.not(other, slab);
  t.equal(pool.out, 2);
  pool.release(slab);
  t.equal(pool.out, 1);
  const again = pool.acquire();
  t.equal(again, slab);
  t.equal(again.holds, 1);
  t.end();
});

t.test('a copy is as large as what it holds, and no slab of the pool', (t) => {
  const pool = new SlabPool();
  const slab = pool.acquire();
  slab.bytes.write('..payload..', 0);
  const copy = pool.copyOf(slab, 2, 9);
  slab.bytes.fill(0);
  t.equal(copy.room.toString(), 'payload');
  t.equal(copy.holds, 1);
  t.equal(pool.out, 1);
  pool.release(copy);
  t.equal(pool.out, 1);
  t.not(pool.acquire(), copy);
  t.end();
});

t.test('the pool is tight at 32', (t) => {
  const pool = new SlabPool();
  const slabs = Array.from({ length: 31 }, () => pool.acquire());
  t.equal(pool.tight, false);
  slabs.push(pool.acquire());
  t.equal(pool.tight, true);
  for (const slab of slabs) pool.release(slab);
  t.equal(pool.tight, false);
  t.equal(pool.out, 0);
  t.end();
});

t.test('as many free slabs are kept as are lent, and 8 more', (t) => {
  const pool = new SlabPool();
  const kept = (lent: number, returned: number): number => {
    const slabs = Array.from({ length: lent + returned }, () => pool.acquire());
    const free = new Set(slabs.slice(lent));
    for (const slab of free) pool.release(slab);
    const next = Array.from({ length: returned }, () => pool.acquire());
    for (const slab of [...slabs.slice(0, lent), ...next]) pool.release(slab);
    return next.filter((slab) => free.has(slab)).length;
  };
  t.equal(kept(9, 9), 9, 'eight bulk connections: nothing is thrown away');
  t.equal(kept(3, 20), 11);
  t.equal(kept(0, 32), 8);
  t.end();
});
