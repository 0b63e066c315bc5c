import t from 'tap';
import { run } from '../fixtures/programs.js';

const SCRIPT = ['env', '-u', 'NODE_OPTIONS', process.execPath, 'scripts/faults.mjs'] as const;

/** What a client of portferry sees of faults that take no time. */
const SEEN: Readonly<Record<string, string>> = {
  'guest-killed-download': 'reset',
  'host-killed-upload': 'reset',
  'channel-cut': 'reset',
  'server-resets': 'reset',
  'server-refuses': 'reset',
  'client-half-closes': 'whole',
  'closed-at-once': 'whole',
};

interface Report {
  faults: { id: string; forwarders: Record<string, { results: { seen: string }[] }> }[];
}

t.test('the script that makes faults sees what docs/reliability.md says of portferry', async (t) => {
  const only = ['--only', Object.keys(SEEN).join(','), '--forwarders', 'portferry', '--times', '1'];
  const { outcome, output } = await run(t, ...SCRIPT, ...only, '--json');
  t.equal(outcome, 0);
  const { faults } = JSON.parse(output.slice(output.indexOf('{'))) as Report;
  const seen = faults.map(({ id, forwarders }) => [id, forwarders['portferry']?.results[0]?.seen]);
  t.same(Object.fromEntries(seen), SEEN);
});

t.test('what it is asked wrongly is one line', async (t) => {
  const { outcome, output } = await run(t, ...SCRIPT, '--only', 'no-such-fault');
  t.equal(outcome, 2);
  t.match(output, /^there is no fault no-such-fault; npm run faults -- --help has more$/);
});
