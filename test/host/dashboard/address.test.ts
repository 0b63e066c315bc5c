import t from 'tap';
import { parseDashboardAddress } from '../../../host/dashboard/address.js';

t.test('addresses of loopback, and the default one', async (t) => {
  t.same(parseDashboardAddress(''), { ip: '127.0.0.1', port: 7678, orAny: true });
  t.same(parseDashboardAddress('127.0.0.2:0'), { ip: '127.0.0.2', port: 0, orAny: false });
  t.same(parseDashboardAddress('localhost:9000'), { ip: '127.0.0.1', port: 9000, orAny: false });
  t.same(parseDashboardAddress('[::1]:65535'), { ip: '::1', port: 65535, orAny: false });
});

t.test('whatever else is wrong usage', async (t) => {
  for (const text of [
    'x',
    '9000',
    '127.0.0.1',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '::1:80',
    '[127.0.0.1]:80',
    'a.b:80',
  ])
    t.throws(() => parseDashboardAddress(text), { name: 'UsageError', message: /takes HOST:PORT/ }, text);
  for (const text of ['0.0.0.0:80', '[::]:80', '192.0.2.1:80', '[fe80::1]:80'])
    t.throws(
      () => parseDashboardAddress(text),
      { name: 'UsageError', message: /for this machine alone/ },
      text,
    );
});
