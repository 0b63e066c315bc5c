import t from 'tap';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import { describePort, isMeant } from '../../../protocol/services/vpnkit-port.js';

const WEB: VpnkitPort = { proto: 'tcp', out_port: 8080, in_port: 80 };

t.test('whether a port that is named means a forward', async (t) => {
  const cases: [named: VpnkitPort, other: VpnkitPort, meant: boolean][] = [
    [WEB, WEB, true],
    [{ ...WEB, out_ip: '0.0.0.0' }, WEB, true],
    [WEB, { ...WEB, out_ip: '0.0.0.0' }, true],
    [{ ...WEB, out_ip: '::' }, WEB, false],
    [{ ...WEB, out_ip: '127.0.0.1' }, WEB, false],
    [{ ...WEB, out_ip: '0:0::1' }, { ...WEB, out_ip: '::1' }, true],
    [{ ...WEB, out_ip: 'nonsense' }, { ...WEB, out_ip: 'nonsense' }, true],
    [{ ...WEB, out_ip: 'nonsense' }, WEB, false],
    [{ ...WEB, proto: 'udp' }, WEB, false],
    [{ ...WEB, out_port: 8081 }, WEB, false],
    [{ ...WEB, in_port: 81 }, WEB, false],
    [{ proto: 'tcp', out_port: 8080 }, WEB, true],
    [{ ...WEB, in_ip: '127.0.0.1' }, WEB, true],
    [{ ...WEB, in_ip: '127.0.0.2' }, WEB, false],
    [{ ...WEB, annotation: 'x', proxy_protocol: 1 }, WEB, true],
    [{ proto: 'tcp' }, { proto: 'tcp', out_port: 0, in_port: 80 }, true],
    [{ proto: 'unix', out_path: '/a' }, { proto: 'unix', out_path: '/a', in_path: '/b' }, true],
    [
      { proto: 'unix', out_path: '/a', in_path: '/c' },
      { proto: 'unix', out_path: '/a', in_path: '/b' },
      false,
    ],
  ];
  for (const [named, other, meant] of cases)
    t.equal(isMeant(named, other), meant, `${JSON.stringify(named)} and ${JSON.stringify(other)}`);
});

t.test('the host’s end, for people', async (t) => {
  t.equal(describePort(WEB), 'tcp *:8080');
  t.equal(describePort({ ...WEB, out_ip: '::1' }), 'tcp [::1]:8080');
  t.equal(describePort({ proto: 'udp', out_ip: '127.0.0.1' }), 'udp 127.0.0.1:0');
  t.equal(describePort({ proto: 'unix', out_path: '/a' }), 'unix /a');
});
