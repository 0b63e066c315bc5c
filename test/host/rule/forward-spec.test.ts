import t from 'tap';
import {
  addressesOverlap,
  type ForwardRule,
  formatHostEnd,
  type PortRule,
} from '../../../host/rule/forward-rule.js';
import { formatRule, parseSpec } from '../../../host/rule/forward-spec.js';

const LOCALHOST = ['127.0.0.1', '::1'];

const EVERY_ADDRESS = ['0.0.0.0', '::'];

function tcp(hostIps: string[], hostPort: number, ip: string, port: number): PortRule {
  return { proto: 'tcp', hostIps, hostPort, destination: { proto: 'tcp', ip, port } };
}

function udp(hostIps: string[], hostPort: number, port: number): PortRule {
  return { proto: 'udp', hostIps, hostPort, destination: { proto: 'udp', ip: '127.0.0.1', port } };
}

t.test('reads every form', async (t) => {
  const forms: [string, ForwardRule][] = [
    ['8080', tcp(LOCALHOST, 8080, '127.0.0.1', 8080)],
    ['8080/tcp', tcp(LOCALHOST, 8080, '127.0.0.1', 8080)],
    ['8080:80', tcp(LOCALHOST, 8080, '127.0.0.1', 80)],
    ['65535:65535', tcp(LOCALHOST, 65535, '127.0.0.1', 65535)],
    ['1:1', tcp(LOCALHOST, 1, '127.0.0.1', 1)],
    ['0:80', tcp(LOCALHOST, 0, '127.0.0.1', 80)],
    ['localhost:8080', tcp(LOCALHOST, 8080, '127.0.0.1', 8080)],
    ['localhost:8080:localhost:80', tcp(LOCALHOST, 8080, '127.0.0.1', 80)],
    ['127.0.0.1:8080', tcp(['127.0.0.1'], 8080, '127.0.0.1', 8080)],
    ['0.0.0.0:8080:80', tcp(['0.0.0.0'], 8080, '127.0.0.1', 80)],
    ['[::]:8080:80', tcp(['::'], 8080, '127.0.0.1', 80)],
    ['*:8080:80', tcp(EVERY_ADDRESS, 8080, '127.0.0.1', 80)],
    ['[0:0:0:0:0:0:0:1]:8080:80', tcp(['::1'], 8080, '127.0.0.1', 80)],
    ['[::ffff:10.0.0.1]:8080:80', tcp(['10.0.0.1'], 8080, '127.0.0.1', 80)],
    ['8080:172.17.0.2:80', tcp(LOCALHOST, 8080, '172.17.0.2', 80)],
    ['8080:[fd00::2]:80', tcp(LOCALHOST, 8080, 'fd00::2', 80)],
    ['127.0.0.1:8080:172.17.0.2:80/tcp', tcp(['127.0.0.1'], 8080, '172.17.0.2', 80)],
    ['[::1]:8080:[::1]:80', tcp(['::1'], 8080, '::1', 80)],
    ['53/udp', udp(LOCALHOST, 53, 53)],
    ['*:0:53/udp', udp(EVERY_ADDRESS, 0, 53)],
    ['5353:53/udp/idle=30', { ...udp(LOCALHOST, 5353, 53), idleSeconds: 30 }],
    ['5353:53/udp/idle=1.5', { ...udp(LOCALHOST, 5353, 53), idleSeconds: 1.5 }],
    ['5353:53/udp/idle=86400', { ...udp(LOCALHOST, 5353, 53), idleSeconds: 86_400 }],
    ['8080:80/proxy=v1', { ...tcp(LOCALHOST, 8080, '127.0.0.1', 80), proxyProtocol: 1 }],
    ['8080:80/tcp/proxy=v2', { ...tcp(LOCALHOST, 8080, '127.0.0.1', 80), proxyProtocol: 2 }],
    [
      'unix:/a.sock:/b.sock',
      { proto: 'unix', hostPath: '/a.sock', destination: { proto: 'unix', path: '/b.sock' } },
    ],
  ];
  for (const [spec, rule] of forms) {
    t.same(parseSpec(spec), [rule], spec);
    t.same(parseSpec(formatRule(rule)), [rule], `${spec} as ${formatRule(rule)}`);
  }
});

t.test('a range is one rule per port', async (t) => {
  t.same(parseSpec('8000-8002:9000-9002').map(formatRule), [
    'localhost:8000:127.0.0.1:9000/tcp',
    'localhost:8001:127.0.0.1:9001/tcp',
    'localhost:8002:127.0.0.1:9002/tcp',
  ]);
  t.equal(parseSpec('127.0.0.1:8000-8001').length, 2);
  t.equal(parseSpec('65534-65535').length, 2);
});

t.test('a wrong SPEC is quoted, with what is wrong and the right form', async (t) => {
  const wrong: [string, RegExp][] = [
    ['', /the host address "" is neither/],
    ['http', /the host address "http" is neither a literal IP address nor localhost/],
    ['65536', /the host port is above 65535/],
    ['8080:99999999999999999999', /the guest port is above 65535/],
    ['8080:0', /the guest port cannot be 0 here/],
    ['0', /port 0 is a free port of the host, and needs the port in the guest/],
    ['0-3:5-8', /the host port cannot be 0 here/],
    ['8002-8000', /the host port range "8002-8000" ends before it begins/],
    ['8000-8002:9000-9001', /3 ports on the host cannot be joined to 2 ports in the guest/],
    ['8000-8002:9000', /3 ports on the host cannot be joined to 1 port in the guest/],
    ['8080:', /the guest address "" is neither/],
    [':8080', /the host address "" is neither/],
    ['127.0.0.1', /the host port is missing/],
    ['127.0.0.1:x', /the host port is "x", which is neither a port nor a range/],
    ['127.0.0.1::80', /the host port is "", which is neither/],
    ['8080:127.0.0.1', /the guest port is missing/],
    ['8080:80:90', /the guest address "80"|":90" is too much/],
    ['1:2:3:4', /":3:4" is too much/],
    ['::1:8080:80', /an IPv6 address stands in brackets|too many colons/],
    ['[', /the brackets do not match/],
    ['[::1:8080', /the brackets do not match/],
    ['[127.0.0.1]:80:80', /the host address "\[127.0.0.1\]" is neither/],
    ['127.1:80:80', /the host address "127.1" is neither/],
    ['example.com:80:80', /neither a literal IP address nor localhost/],
    ['[fe80::1]:8080:80', /fe80::1 is an address of one link, .* such as \[fe80::1%eth0\]/],
    ['8080:[febf::1]:80', /the guest address febf::1 is one of a link, which the guest can't dial/],
    ['8080:[fe80::1%eth0]:80', /has a zone, which only the host's can have/],
    ['8080/sctp', /"sctp" is no protocol that can be forwarded/],
    ['8080/', /"" is no protocol that can be forwarded/],
    ['8080/tcp/udp', /"\/udp" is neither \/proxy=v1, \/proxy=v2 nor \/idle=SECONDS/],
    ['8080/keep=1', /"\/keep=1" is neither/],
    ['8080/proxy=v3', /\/proxy is v1 or v2, not "v3"/],
    ['53/udp/proxy=v1', /\/proxy is for tcp only/],
    ['8080/tcp/idle=5', /\/idle is for udp only/],
    ['53/udp/idle=', /\/idle is a number of seconds from 1 to 86400, not ""/],
    ['53/udp/idle=0.5', /not "0.5"/],
    ['53/udp/idle=86401', /not "86401"/],
    ['53/udp/idle=soon', /not "soon"/],
    ['unix:/a.sock', /the path in the guest is missing/],
    ['unix:/a:/b:/c', /there are too many colons/],
    ['unix::/b', /the path "" is not absolute/],
    ['unix:a:/b', /the path "a" is not absolute/],
    ['unix:/a:portferry', /the path "portferry" is not absolute/],
    [`unix:/a:/${'b'.repeat(5000)}`, /a path has 5001 bytes, at most 4096 are allowed/],
  ];
  for (const [spec, problem] of wrong) {
    t.throws(() => parseSpec(spec), { name: 'UsageError', message: problem }, spec);
    t.throws(() => parseSpec(spec), { message: /^cannot forward ".*": .*; the form is / });
  }
});

t.test('every port of a range gets what stands behind it', async (t) => {
  t.same(parseSpec('5000-5001:6000-6001/udp/idle=5').map(formatRule), [
    'localhost:5000:127.0.0.1:6000/udp/idle=5',
    'localhost:5001:127.0.0.1:6001/udp/idle=5',
  ]);
});

t.test('says which addresses are in each other’s way', async (t) => {
  t.equal(formatHostEnd(tcp(['10.0.0.1', '10.0.0.2'], 1, '::1', 2)), '10.0.0.1:1,10.0.0.2:1');
  t.ok(addressesOverlap('127.0.0.1', '127.0.0.1'));
  t.ok(addressesOverlap('127.0.0.1', '0.0.0.0'));
  t.ok(addressesOverlap('0.0.0.0', '127.0.0.1'));
  t.ok(addressesOverlap('::', '::1'));
  t.notOk(addressesOverlap('127.0.0.1', '127.0.0.2'));
  t.notOk(addressesOverlap('0.0.0.0', '::1'));
  t.notOk(addressesOverlap('127.0.0.1', '::'));
});
