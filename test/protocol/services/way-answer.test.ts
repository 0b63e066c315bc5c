import t from 'tap';
import { readWayReport } from '../../../protocol/services/way-answer.js';
import { makeContainer, makeWay } from '../../host/diagnose/fixtures/make-path.js';

t.test('a report is read as it was written', async (t) => {
  const way = makeWay();
  t.same(readWayReport(JSON.parse(JSON.stringify(way))), way);
  const stopped = makeWay({
    drops: { found: [{ by: 'nft', chain: 'c', rule: 'drop', packets: 2 }] },
    container: { found: makeContainer({ state: 'exited', exitCode: 3, error: 'no such file' }) },
    rivals: [{ id: '1a', name: 'other', port: 80 }],
  });
  t.same(readWayReport(JSON.parse(JSON.stringify(stopped))), stopped);
  const nobody = makeWay({ container: { found: null }, link: { unseen: 'no container' } });
  t.same(readWayReport(JSON.parse(JSON.stringify(nobody))), nobody);
});

t.test('what is missing or odd becomes nothing', async (t) => {
  const findings = Object.fromEntries(
    ['listeners', 'container', 'dnat', 'drops', 'link', 'inside'].map((name) => [name, {}]),
  );
  t.match(readWayReport({ machine: { clock: 'now', hostname: 7 }, ...findings }), {
    machine: { hostname: '', clock: 0, privileged: false },
    listeners: { unseen: '' },
    candidates: [],
  });
  const odd = { ...findings, listeners: { found: [{ proto: 'udp', ip: 'a\u001b[31m', port: Number.NaN }] } };
  t.same(readWayReport({ machine: {}, ...odd }).listeners, {
    found: [{ proto: 'udp', ip: 'a [31m', port: 0 }],
  });
  const full = { ...findings, container: { found: { addresses: 'no', published: [{}], exposed: [7] } } };
  t.match(readWayReport({ machine: {}, ...full }).container, {
    found: { addresses: [], published: [{ ip: '', port: 0 }], exposed: [''] },
  });
});

t.test('a list is cut', async (t) => {
  const way = { ...makeWay(), candidates: Array.from({ length: 1000 }, () => ({ id: 'a', name: 'b' })) };
  t.equal(readWayReport(way).candidates.length, 100);
});

t.test('what is no report', async (t) => {
  for (const body of [undefined, null, 7, [], {}, { machine: [] }])
    t.throws(() => readWayReport(body), {
      message: 'the guest has answered with what is no report of a way',
    });
});
