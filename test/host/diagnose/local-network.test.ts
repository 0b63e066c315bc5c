import t from 'tap';
import { localNetworkAdvice } from '../../../host/diagnose/local-network.js';

const ADDRESS = 'tcp:192.168.64.2:4000';
const ERROR = `cannot connect to ${ADDRESS}: EHOSTUNREACH (no route leads there; check the address)`;

t.test('macOS keeps a program from the local network', async (t) => {
  t.match(localNetworkAdvice('darwin', ADDRESS, ERROR), /System Settings, Privacy & Security, Local Network/);
});

t.test('all else is no matter of that permission', async (t) => {
  t.equal(localNetworkAdvice('linux', ADDRESS, ERROR), undefined);
  t.equal(localNetworkAdvice('darwin', 'vsock:3:4000', ERROR), undefined);
  t.equal(localNetworkAdvice('darwin', ADDRESS, 'ECONNREFUSED'), undefined);
  t.equal(localNetworkAdvice('darwin', ADDRESS), undefined);
});
