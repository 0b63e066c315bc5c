import t from 'tap';
import { randomFrom } from '../protocol/fixtures/memory-link.js';
import { Fuzzer } from './engine/fuzzer.js';
import { mutateJson } from './engine/mutate-json.js';
import { Probe } from './engine/probe.js';
import type { Target } from './target.js';

/** Fails behind two branches, as code fails that was instrumented. */
function locked(probe: Probe): Target {
  const { counters, equal } = probe;
  const enter = (site: number): void => {
    counters[site] = (counters[site] as number) + 1;
  };
  return {
    seeds: ['hello 1'],
    run(input) {
      enter(2);
      const [word = '', number = ''] = input.toString('latin1').split(' ');
      if (!equal(word.slice(0, 6), 'sesame')) return;
      enter(0);
      if (!equal(Number(number), 4711)) return;
      enter(1);
      throw new Error('open');
    },
  };
}

async function find(seed: number): Promise<{ found: string | undefined; runs: number }> {
  const probe = new Probe(3, ['sesame']);
  const fuzzer = new Fuzzer({ target: locked(probe), probe, seed });
  await fuzzer.add(Buffer.from('hello 1'));
  const found = await fuzzer.search(() => fuzzer.runs > 50_000);
  return { found: found?.input.toString('latin1'), runs: fuzzer.runs };
}

t.test('what lies behind a word and a number is found, and made short', async (t) => {
  const { found } = await find(1);
  t.equal(found, 'sesame 4711');
});

t.test('the same seed finds the same', async (t) => {
  t.same(await find(2), await find(2));
});

t.test('what takes too long is found, and what reaches nothing new is not kept', async (t) => {
  const probe = new Probe(1);
  const slow: Target = {
    seeds: [],
    run(input) {
      const start = process.cpuUsage();
      while (input.length > 3 && process.cpuUsage(start).user < 300_000);
    },
  };
  const fuzzer = new Fuzzer({ target: slow, probe, seed: 1, maxMs: 200 });
  t.equal(await fuzzer.add(Buffer.from('abc')), undefined);
  t.match(await fuzzer.add(Buffer.from('abcd')), { message: /^it takes \d+ ms$/ });
  t.same(fuzzer.inputs, []);
});

t.test('JSON stays JSON, also behind a line that names its reader', async (t) => {
  const random = randomFrom(1);
  let text: Buffer = Buffer.from('vpnkit\n{"a":[1,{"b":null}]}');
  for (let count = 0; count < 200; count++) {
    const next = mutateJson(text, { random, words: ['c'] });
    if (!next) break;
    t.doesNotThrow(() => JSON.parse(next.toString().slice('vpnkit\n'.length)));
    if (/^vpnkit\n[{[]/.test(next.toString())) text = next;
  }
  t.equal(mutateJson(Buffer.from('{'), { random, words: [] }), undefined);
});
