import t from 'tap';
import { formatRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { ruleFromVpnkit, ruleToVpnkit } from '../../../host/rule/vpnkit-rule.js';

t.test('reads and writes vpnkit’s objects', async (t) => {
  const web = {
    proto: 'tcp',
    out_ip: '127.0.0.1',
    out_port: 8080,
    in_ip: '172.17.0.2',
    in_port: 80,
  } as const;
  t.equal(formatRule(ruleFromVpnkit(web)), '127.0.0.1:8080:172.17.0.2:80/tcp');
  t.same(ruleToVpnkit(ruleFromVpnkit(web)), web);
  const pipe = { proto: 'unix', out_path: '/a', in_path: '/b', annotation: 'kubernetes' } as const;
  t.same(ruleFromVpnkit(pipe), {
    proto: 'unix',
    hostPath: '/a',
    destination: { proto: 'unix', path: '/b' },
    annotation: 'kubernetes',
  });
  t.same(ruleToVpnkit(ruleFromVpnkit(pipe)), pipe);
  const dns = { ...web, proto: 'udp', idle_seconds: 30 } as const;
  t.equal(formatRule(ruleFromVpnkit(dns)), '127.0.0.1:8080:172.17.0.2:80/udp/idle=30');
  t.same(ruleToVpnkit(ruleFromVpnkit(dns)), dns);
  const proxied = { ...web, proxy_protocol: 2 } as const;
  t.equal(formatRule(ruleFromVpnkit(proxied)), '127.0.0.1:8080:172.17.0.2:80/tcp/proxy=v2');
  t.same(ruleToVpnkit(ruleFromVpnkit(proxied)), proxied);
  const contained = { ...web, container: 'web', container_id: '1a2b3c4d5e6f' } as const;
  t.same(ruleToVpnkit(ruleFromVpnkit(contained)), contained);
});

t.test('what is absent or empty: every address, a free port, 127.0.0.1', async (t) => {
  const rule = ruleFromVpnkit({ proto: 'tcp', out_ip: '', in_port: 80, annotation: null, other: 1 });
  t.equal(formatRule(rule), '*:0:127.0.0.1:80/tcp');
  t.same(ruleToVpnkit(rule), { proto: 'tcp', out_port: 0, in_ip: '127.0.0.1', in_port: 80 });
  t.notOk('annotation' in rule);
  const none = ruleFromVpnkit({ proto: 'udp', in_port: 53, proxy_protocol: 0, idle_seconds: null });
  t.equal(formatRule(none), '*:0:127.0.0.1:53/udp');
});

t.test('localhost is listed by its IPv4 address', async (t) => {
  const listed = parseSpec('8080:80').map(ruleToVpnkit);
  t.match(listed, [{ out_ip: '127.0.0.1', out_port: 8080, in_ip: '127.0.0.1', in_port: 80 }]);
  t.match(parseSpec('[::]:8080:80').map(ruleToVpnkit), [{ out_ip: '::' }]);
  t.match(parseSpec('53/udp').map(ruleToVpnkit), [{ proto: 'udp', out_ip: '127.0.0.1', in_port: 53 }]);
});

t.test('refuses what is not such an object', async (t) => {
  const tcp = { proto: 'tcp', out_port: 1, in_port: 2 };
  const udp = { ...tcp, proto: 'udp' };
  const wrong: [unknown, RegExp][] = [
    [undefined, /the body must be one JSON object/],
    [null, /the body must be one JSON object/],
    [[tcp], /the body must be one JSON object/],
    ['tcp', /the body must be one JSON object/],
    [{}, /^"proto" must be "tcp", "udp" or "unix", not undefined$/],
    [{ ...tcp, proto: 'TCP' }, /^"proto" must be/],
    [{ ...tcp, proxy_protocol: 3 }, /^"proxy_protocol" must be 1 or 2, not 3$/],
    [{ ...udp, proxy_protocol: 1 }, /^"proxy_protocol" is for "proto" "tcp" only$/],
    [{ ...tcp, idle_seconds: 5 }, /^"idle_seconds" is for "proto" "udp" only$/],
    [{ ...udp, idle_seconds: '5' }, /^"idle_seconds" must be a number from 1 to 86400, not "5"$/],
    [{ ...udp, idle_seconds: 86_401 }, /^"idle_seconds" must be/],
    [{ ...tcp, out_ip: 'localhost' }, /^"out_ip" must be a literal IP address, not "localhost"$/],
    [{ ...tcp, out_ip: 7 }, /^"out_ip" must be a string, not 7$/],
    [{ ...tcp, out_ip: 'fe80::1' }, /^"out_ip": fe80::1 is an address of one link: choose another one$/],
    [{ ...tcp, in_ip: 'fe80::1%eth0' }, /^"in_ip" must be a literal IP address/],
    [{ ...tcp, out_port: '1' }, /^"out_port" must be a port from 0 to 65535, not "1"$/],
    [{ ...tcp, out_port: -1 }, /^"out_port" must be/],
    [{ ...tcp, out_port: 65536 }, /^"out_port" must be/],
    [{ ...tcp, in_port: 1.5 }, /^"in_port" must be/],
    [{ ...tcp, in_port: 0 }, /^"in_port", the port in the guest, is missing or 0$/],
    [{ ...tcp, annotation: {} }, /^"annotation" must be a string/],
    [{ proto: 'unix', in_path: '/b' }, /^"out_path": a path is missing$/],
    [{ proto: 'unix', out_path: '/a' }, /^"in_path": a path is missing$/],
    [{ proto: 'unix', out_path: 'a', in_path: '/b' }, /^"out_path": the path "a" is not absolute$/],
    [
      { proto: 'unix', out_path: '/a', in_path: 'portferry:control' },
      /^"in_path": the path .* is not absolute$/,
    ],
  ];
  for (const [body, message] of wrong) t.throws(() => ruleFromVpnkit(body), { name: 'UsageError', message });
});
