import { ExposePolicy, parseAllowExpose } from '../../../host/forwards/expose-policy.js';
import { formatSaved, parseSaved } from '../../../host/forwards/saved-forwards.js';
import { encodeProxyHeader } from '../../../host/relay/proxy-protocol.js';
import { formatRule } from '../../../host/rule/forward-rule.js';
import { type ForwardRule, parseParts, parseSpec } from '../../../host/rule/forward-spec.js';
import { readVpnkitName, ruleFromVpnkit, ruleToVpnkit } from '../../../host/rule/vpnkit-rule.js';
import { parseEndpointRule } from '../../../protocol/endpoint-rule.js';
import { UsageError } from '../../../protocol/errors.js';
import { readVpnkitPort } from '../../../protocol/services/vpnkit-port-fields.js';
import { formatAddress, parseAddress } from '../../../protocol/transport/channel-address.js';
import { canonicalIp } from '../../../protocol/wire/address.js';
import { allow, byName, equal, type Target } from '../target.js';

/** Rules of a range that are looked at: they differ by a number. */
const LOOKED_AT = 3;

/** What people and publishers write to say what is forwarded, and what may be. */
export const specs: Target = byName(
  {
    spec(text) {
      const rules = allow([UsageError], () => parseSpec(text)) ?? [];
      for (const rule of rules.slice(0, LOOKED_AT)) checkRule(rule);
      allow([UsageError], () => parseParts(text));
    },
    addr(text) {
      const address = allow([UsageError], () => parseAddress(text, { allowRemote: true }));
      if (address)
        equal(parseAddress(formatAddress(address), { allowRemote: true }), address, 'not the same');
    },
    endpoint(text) {
      const rule = allow([UsageError], () => parseEndpointRule(text, '--allow-dial'));
      rule?.allows({ proto: 'tcp', ip: '127.0.0.1', port: 80 });
      rule?.allows({ proto: 'udp', ip: 'fe80::1', port: 0 });
      const secret = { proto: 'unix', path: '/run/x/../y' } as const;
      if (rule?.allows(secret) && text !== `unix:${secret.path}`) throw new Error('it lets .. through');
      allow([UsageError], () => parseAllowExpose(text.split('\n')));
    },
    vpnkit(text) {
      const body = parse(text);
      const rule = allow([UsageError], () => ruleFromVpnkit(body));
      allow([UsageError], () => readVpnkitName(body));
      allow([UsageError], () => readVpnkitPort(body));
      if (!rule) return;
      equal(ruleFromVpnkit(JSON.parse(JSON.stringify(ruleToVpnkit(rule)))), rule, 'it does not come back');
      checkRule(rule);
      const policy = new ExposePolicy({ rules: undefined, socketsFolder: '/run/sockets' });
      const refusal = policy.refusalOf(rule);
      if (rule.proto === 'unix' && !refusal && !/^\/run\/sockets\/[^/\0]+$/.test(rule.hostPath))
        throw new Error(`${rule.hostPath} is allowed`);
    },
    state(text) {
      const { rules, problems } = parseSaved(text);
      if (problems.some((problem) => problem.length > 10_000)) throw new Error('a problem without end');
      equal(parseSaved(formatSaved(rules)), { rules, problems: [] }, 'what was read is not read again');
    },
    proxy(text) {
      const [client = '', listener = '', port = ''] = text.split(' ');
      const ends = [client, listener].map((ip) => canonicalIp(ip));
      if (!ends[0] || !ends[1]) return;
      checkProxyHeaders(ends[0], ends[1], Number(port) & 0xffff);
    },
  },
  {
    spec: [
      ...[
        '8080',
        '127.0.0.1:8080:80',
        '8000-8002:9000-9002/tcp/proxy=v2',
        '53/udp/idle=30',
        '[::1]:80:[::1]:81',
      ],
      ...['unix:/a.sock:/b.sock', '*:80', 'localhost:80:localhost:80', '[fe80::1%eth0]:80', '0:80/proxy=v1'],
    ],
    addr: [
      ...['unix:/a', 'tcp:127.0.0.1:80', 'tcp:[::1]:0', 'vsock:1024', 'vsock:2:0x400', 'hyperkit:/dir:1024'],
      ...[
        'firecracker:/v.sock:1024',
        'virtserial:/dev/vport0p1',
        'exec:ssh -o "x y" vm portferry-guest',
        'stdio:',
      ],
    ],
    endpoint: [
      ...[
        '127.0.0.1:8080',
        '10.0.0.0/8:80-90/tcp',
        '[::1]',
        ':8080',
        'unix:/run/*',
        'unix:/run/x',
        '*',
        'none',
      ],
      ...['[fd00::/8]:1-65535/udp', '[::1]/128'],
    ],
    vpnkit: [
      '{"proto":"tcp","out_ip":"127.0.0.1","out_port":8080,"in_ip":"172.17.0.2","in_port":80,"proxy_protocol":2}',
      '{"proto":"udp","out_port":53,"in_port":53,"idle_seconds":30,"annotation":"x","container":"c"}',
      '{"proto":"unix","out_path":"/run/sockets/a","in_path":"/b","container_id":"0123"}',
    ],
    state: [
      '{"version":1,"forwards":[{"proto":"tcp","out_ip":"127.0.0.1","out_port":80,"in_ip":"127.0.0.1","in_port":80,"host_ips":["127.0.0.1","::1"]},{"proto":"unix","out_path":"/a","in_path":"/b"}]}',
      '{"version":2,"forwards":[]}',
    ],
    proxy: ['127.0.0.1 10.0.0.1 80', '::1 2001:db8::1 65535', '::ffff:1.2.3.4 fe80::1%eth0 1'],
  },
);

/** A rule can be written as a SPEC, and means the same then, but for what is only a note. */
function checkRule(rule: ForwardRule): void {
  const { annotation: _, container: _name, containerId: _id, ...bare } = rule;
  // A path with a colon has no SPEC.
  if (rule.proto === 'unix' && `${rule.hostPath}${formatGuest(rule)}`.includes(':')) return;
  equal(parseSpec(formatRule(rule)), [bare], `${formatRule(rule)} is another rule`);
}

function formatGuest({ destination }: ForwardRule): string {
  return destination.proto === 'unix' ? destination.path : destination.ip;
}

/** Both versions say the addresses and ports, in as many bytes as they may have. */
function checkProxyHeaders(client: string, listener: string, port: number): void {
  const source = { client: { ip: client, port }, listener: { ip: listener, port } };
  const text = encodeProxyHeader(1, source).toString('latin1');
  const four = `(\\d{1,3}\\.){3}\\d{1,3}`;
  const six = `[0-9a-f:]{2,39}`;
  if (!new RegExp(`^PROXY (TCP4 ${four} ${four}|TCP6 ${six} ${six}) ${port} ${port}\r\n$`).test(text))
    throw new Error(`no header of version 1: ${JSON.stringify(text)}`);
  const binary = encodeProxyHeader(2, source);
  equal(binary.length, 16 + binary.readUInt16BE(14), 'a header of version 2 with another length');
  equal(binary.readUInt16BE(binary.length - 2), port, 'another port');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
