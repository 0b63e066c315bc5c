import t from 'tap';
import { parseEndpointRule } from '../../protocol/endpoint-rule.js';
import { UsageError } from '../../protocol/errors.js';
import type { Destination } from '../../protocol/wire/destination.js';

const tcp = (ip: string, port: number): Destination => ({ proto: 'tcp', ip, port });
const udp = (ip: string, port: number): Destination => ({ proto: 'udp', ip, port });
const unix = (path: string): Destination => ({ proto: 'unix', path });

const cases: [rule: string, allowed: Destination[], refused: Destination[]][] = [
  [':8080', [tcp('127.0.0.1', 8080), tcp('::1', 8080), udp('10.0.0.1', 8080)], [tcp('127.0.0.1', 8081)]],
  ['*', [tcp('127.0.0.1', 1), udp('::1', 65535)], [unix('/run/x')]],
  ['*:80-90/tcp', [tcp('10.1.2.3', 80), tcp('::1', 90)], [tcp('::1', 91), udp('::1', 85)]],
  ['/udp', [udp('10.1.2.3', 53)], [tcp('10.1.2.3', 53)]],
  ['127.0.0.1', [tcp('127.0.0.1', 1)], [tcp('127.0.0.2', 1), tcp('::1', 1)]],
  ['127.0.0.1:80', [tcp('127.0.0.1', 80)], [tcp('127.0.0.1', 81)]],
  ['10.0.0.0/8:80/tcp', [tcp('10.255.0.1', 80)], [tcp('11.0.0.1', 80), tcp('::1', 80)]],
  ['[::1]', [tcp('::1', 80), tcp('0:0:0:0:0:0:0:1', 80)], [tcp('::2', 80), tcp('127.0.0.1', 80)]],
  ['[fd00::]/8:1-2', [tcp('fd12::1', 1)], [tcp('fe80::1', 1), tcp('10.0.0.1', 1)]],
  ['unix:/run/db.sock', [unix('/run/db.sock')], [unix('/run/db.sock2'), tcp('127.0.0.1', 1)]],
  [
    'unix:/run/*',
    [unix('/run/a'), unix('/run/b/c'), unix('/run/..a')],
    [unix('/var/a'), unix('/run/../etc/a'), unix('/run/..'), unix('/run/a/..'), udp('::1', 1)],
  ],
  // Port 0 is one that the OS will choose: only who may have every port may have that.
  ['127.0.0.1', [tcp('127.0.0.1', 0)], [tcp('::1', 0)]],
  [':1-65535', [tcp('127.0.0.1', 0), tcp('::1', 65535)], []],
  [':1-65534', [tcp('127.0.0.1', 65534)], [tcp('127.0.0.1', 0)]],
];

for (const [rule, allowed, refused] of cases) {
  t.test(`the rule ${rule}`, async (t) => {
    const parsed = parseEndpointRule(rule, '--allow-dial');
    t.equal(parsed.text, rule);
    for (const destination of allowed) t.ok(parsed.allows(destination), JSON.stringify(destination));
    for (const destination of refused) t.notOk(parsed.allows(destination), JSON.stringify(destination));
  });
}

t.test('what is no rule is refused with the reason', async (t) => {
  const bad: [rule: string, reason: RegExp][] = [
    ['', /'' is not a rule of --allow-dial: it is empty; such as/],
    ['unix:run/x', /the path must begin with \//],
    [':http', /'http' is no port or range/],
    [':0', /ports go from 1 to 65535/],
    [':80-79', /the lower one first/],
    [':65536', /ports go from 1 to 65535/],
    ['localhost:80', /'localhost' is no IP address/],
    ['10.1', /'10.1' is no IP address/],
    ['a:b:c', /'b:c' is no port/],
    [':80/sctp', /':80\/sctp' is not a rule of --allow-dial; such as/],
  ];
  for (const [rule, reason] of bad) t.throws(() => parseEndpointRule(rule, '--allow-dial'), reason, rule);
  t.throws(
    () => parseEndpointRule('', '--allow-expose'),
    new UsageError(
      "'' is not a rule of --allow-expose: it is empty; such as 127.0.0.1:8080, 10.0.0.0/8:80-90/tcp, [::1], :8080 or unix:/run/*",
    ),
  );
});

t.test('a network is written in full: a part alone would mean another one', async (t) => {
  for (const rule of ['127/8', '10.0/8', '0x7f.0.0.0/8'])
    t.throws(() => parseEndpointRule(rule, '--allow-expose'), {
      name: 'UsageError',
      message: /is no IP address/,
    });
  const rule = parseEndpointRule('127.0.0.0/8', '--allow-expose');
  t.ok(rule.allows({ proto: 'tcp', ip: '127.1.2.3', port: 80 }));
  t.notOk(rule.allows({ proto: 'tcp', ip: '0.0.0.0', port: 80 }));
});
