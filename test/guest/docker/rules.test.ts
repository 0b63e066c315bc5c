import { rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Container, PublishedPort } from '../../../guest/docker/containers.js';
import { DEFAULT_RULES, type PublishRule, readRuleFile } from '../../../guest/docker/rules.js';
import { UsageError } from '../../../protocol/errors.js';
import { makeContainer, makePort } from './fixtures/make-container.js';

function file(t: Test, content: unknown): string {
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  return join(t.testdir({ 'rules.json': text }), 'rules.json');
}

function read(t: Test, ...rules: unknown[]): PublishRule[] {
  return readRuleFile(file(t, rules)).slice(0, rules.length);
}

t.test('which ports a rule matches', async (t) => {
  const cases: [rule: object, yes: Partial<PublishedPort>[], no: Partial<PublishedPort>[]][] = [
    [{}, [{}, { proto: 'udp', port: 1 }], []],
    [{ ports: 80 }, [{ port: 80 }], [{ port: 79 }, { port: 81 }]],
    [{ ports: '80' }, [{ port: 80 }], [{ port: 81 }]],
    [{ ports: '8000-8999' }, [{ port: 8000 }, { port: 8999 }], [{ port: 7999 }, { port: 9000 }]],
    [{ proto: 'udp' }, [{ proto: 'udp' }], [{ proto: 'tcp' }]],
    [{ address: '*' }, [{}], [{ addresses: ['0.0.0.0'] }, { addresses: ['127.0.0.1'] }]],
    [{ address: '0.0.0.0' }, [{}, { addresses: ['0.0.0.0'] }], [{ addresses: ['::'] }]],
    [{ address: '0::1' }, [{ addresses: ['::1'] }], [{}]],
    [{ ports: 80, proto: 'udp' }, [{ port: 80, proto: 'udp' }], [{ port: 80 }, { proto: 'udp' }]],
  ];
  for (const [rule, yes, no] of cases) {
    const [parsed] = read(t, rule);
    for (const port of yes)
      t.equal(parsed?.matches(makePort(port), makeContainer()), true, JSON.stringify(rule));
    for (const port of no)
      t.equal(parsed?.matches(makePort(port), makeContainer()), false, JSON.stringify(rule));
  }
});

t.test('which containers a rule matches', async (t) => {
  const cases: [rule: object, yes: Partial<Container>[], no: Partial<Container>[]][] = [
    [{ label: 'tier' }, [{ labels: { tier: '' } }], [{ labels: { tiers: 'x' } }, {}]],
    [{ label: 'tier=db=1' }, [{ labels: { tier: 'db=1' } }], [{ labels: { tier: 'db' } }]],
    [{ label: 'tier=' }, [{ labels: { tier: '' } }], [{ labels: { tier: 'x' } }]],
    [{ container: 'web' }, [{ name: 'web' }], [{ name: 'web2' }, { name: 'a-web' }]],
    [{ container: 'db-*' }, [{ name: 'db-' }, { name: 'db-1' }], [{ name: 'a-db-1' }]],
    [{ container: 'a.*c' }, [{ name: 'a.bc' }], [{ name: 'abc' }]],
    [{ container: '*a*b*' }, [{ name: 'ab' }, { name: 'xaxbx' }], [{ name: 'ba' }]],
    [{ container: 'ab*bc' }, [{ name: 'abbc' }, { name: 'abxbc' }], [{ name: 'abc' }]],
    // A regular expression of as many parts would not come to an end.
    [{ container: `${'*a'.repeat(40)}*b` }, [{ name: `${'a'.repeat(40)}b` }], [{ name: 'a'.repeat(4000) }]],
  ];
  for (const [rule, yes, no] of cases) {
    const [parsed] = read(t, rule);
    for (const fields of yes)
      t.equal(parsed?.matches(makePort(), makeContainer(fields)), true, JSON.stringify(rule));
    for (const fields of no)
      t.equal(parsed?.matches(makePort(), makeContainer(fields)), false, JSON.stringify(rule));
  }
});

t.test('what a rule does', async (t) => {
  const [deny, single, offset, back, wishes, udp] = read(
    t,
    { name: 'no', deny: true },
    { ports: '80', remap: 18080, deny: false },
    { ports: '80-90', remap: '+10000' },
    { remap: '-1000' },
    { bind: 'localhost', proxy: 'v2' },
    { idle: 30, bind: '10.0.0.1' },
  );
  t.match(deny, { name: 'no', deny: true, wishes: {} });
  t.match(single, { name: 'rule 2', deny: false });
  t.equal(single?.remap?.(80), 18080);
  t.equal(offset?.remap?.(81), 10081);
  t.equal(back?.remap?.(1080), 80);
  t.match(wishes?.wishes, { hostAddresses: ['127.0.0.1', '::1'], proxyVersion: 2 });
  t.match(udp?.wishes, { hostAddresses: ['10.0.0.1'], idleSeconds: 30 });
});

t.test('the default rules come last, and deny what is of the VM alone', async (t) => {
  const rules = readRuleFile(file(t, [{ ports: 5353 }]));
  t.same(rules.slice(1), DEFAULT_RULES);
  const denied = (proto: string, port: number): string | undefined =>
    DEFAULT_RULES.find((rule) => rule.deny && rule.matches(makePort({ proto, port }), makeContainer()))?.name;
  t.equal(denied('udp', 68), 'default:dhcp');
  t.equal(denied('udp', 5353), 'default:mdns');
  t.equal(denied('udp', 5355), 'default:llmnr');
  t.equal(denied('tcp', 5355), 'default:llmnr');
  t.equal(denied('tcp', 5353), undefined);
  t.equal(denied('tcp', 68), undefined);
});

t.test('a wrong rule is named, with what is right', async (t) => {
  const wrong: [rule: unknown, message: RegExp][] = [
    [1, /it must be an object such as/],
    [null, /it must be an object/],
    [[], /it must be an object/],
    [{ port: 80 }, /unknown key "port": known are name, deny, ports, /],
    [{ name: '' }, /"name" must be a string that is not empty, not ""/],
    [{ name: 1 }, /"name" must be a string/],
    [{ deny: 'yes' }, /"deny" must be true or false, not "yes"/],
    [{ ports: '90-80' }, /"ports" must be a port such as 80, or a range such as "8000-8999", not "90-80"/],
    [{ ports: 0 }, /"ports" must be/],
    [{ ports: '1-65536' }, /"ports" must be/],
    [{ ports: [80], name: 'x', proto: 'x' }, /"proto" must be/],
    [{ ports: 'http' }, /"ports" must be/],
    [{ proto: 'sctp' }, /"proto" must be "tcp" or "udp", not "sctp"/],
    [{ address: 'localhost' }, /"address" must be a literal IP address/],
    [{ address: 1 }, /"address" must be/],
    [{ label: '=x' }, /"label" must be "KEY" or "KEY=VALUE", not "=x"/],
    [{ container: '' }, /"container" must be/],
    [{ ports: 80, remap: 0 }, /"remap" must be a port such as 18080, or an offset such as "\+10000", not 0/],
    [{ ports: 80, remap: 70000 }, /"remap" must be/],
    [{ ports: 80, remap: '10-20' }, /"remap" must be/],
    [{ remap: 18080 }, /"remap": 18080 is one port, and needs one port in "ports"/],
    [{ ports: '80-81', remap: 18080 }, /give an offset such as "\+10000"/],
    [{ bind: 'here' }, /"bind" must be an IP address, "localhost" or "\*", not "here"/],
    [{ proxy: 2 }, /"proxy" must be "v1" or "v2", not 2/],
    [{ idle: 0 }, /"idle" must be a number of seconds from 1 to 86400, not 0/],
    [{ deny: true, remap: '+1' }, /"deny" publishes nothing/],
    [{ deny: true, bind: '*' }, /"deny" publishes nothing/],
    [{ proto: 'udp', proxy: 'v1' }, /"proxy" is for "proto" "tcp" only/],
    [{ proto: 'tcp', idle: 5 }, /"idle" is for "proto" "udp" only/],
  ];
  for (const [rule, message] of wrong) {
    t.throws(() => read(t, {}, rule), { message });
    t.throws(() => read(t, {}, rule), { name: 'UsageError', message: /^rule 2 of .*rules\.json: / });
  }
});

t.test('a file that cannot be understood is named', async (t) => {
  t.throws(() => readRuleFile(file(t, '[{]')), {
    message: /^the rules of .*rules\.json are no valid JSON: /,
  });
  t.throws(() => readRuleFile(file(t, {})), { message: /rules\.json must be a list, such as / });
  const path = file(t, []);
  rmSync(path);
  t.throws(() => readRuleFile(path), { message: /cannot be read: ENOENT/ });
  t.throws(() => readRuleFile(path), UsageError);
});
