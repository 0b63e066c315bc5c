import { constants } from 'node:os';
import t from 'tap';
import { describeBindFailure, isNoSuchAddress } from '../../../host/listen/bind-failure.js';

function systemError(code: keyof typeof constants.errno): Error {
  return Object.assign(new Error(`bind ${code}`), { code, errno: -constants.errno[code] });
}

t.test('says the address, the reason in words, and what to try', async (t) => {
  const cases: [Error, string, number, RegExp][] = [
    [
      systemError('EACCES'),
      '127.0.0.1',
      80,
      /127\.0\.0\.1:80: permission denied \(EACCES\); ports below 1024 are privileged/,
    ],
    [systemError('EACCES'), '127.0.0.1', 8080, /the system reserves this port: choose another one$/],
    [systemError('EADDRNOTAVAIL'), '10.9.9.9', 80, /this machine has no address 10\.9\.9\.9$/],
    [systemError('EAFNOSUPPORT'), '::', 80, /\[::\]:80: .*this machine has no IPv6: choose an IPv4 address$/],
    [
      systemError('EMFILE'),
      '::1',
      80,
      /too many open files \(EMFILE\); raise the limit of open files \(ulimit -n\)/,
    ],
    [new Error('odd'), '::1', 80, /^cannot listen on \[::1\]:80: odd$/],
  ];
  for (const [thrown, ip, port, message] of cases) {
    const error = describeBindFailure({ proto: 'tcp', ip, port }, thrown);
    t.equal(error.name, 'OperationError');
    t.match(error.message, message);
  }
});

t.test('names who holds the port, as far as that is known', async (t) => {
  const taken = systemError('EADDRINUSE');
  const tcp = { proto: 'tcp', ip: '127.0.0.1', port: 8080 } as const;
  t.equal(
    describeBindFailure(tcp, taken, 'nginx (pid 7)').message,
    'cannot listen on 127.0.0.1:8080: address already in use (EADDRINUSE) by nginx (pid 7); free it, or choose another host port',
  );
  t.match(describeBindFailure(tcp, taken).message, /address already in use \(EADDRINUSE\); free it/);
  t.match(
    describeBindFailure({ ...tcp, proto: 'udp' }, taken).message,
    /^cannot listen on udp 127\.0\.0\.1:8080: address already in use/,
  );
});

t.test('tells a missing address from other failures', async (t) => {
  t.ok(isNoSuchAddress(systemError('EADDRNOTAVAIL')));
  t.ok(isNoSuchAddress(systemError('EAFNOSUPPORT')));
  t.notOk(isNoSuchAddress(systemError('EADDRINUSE')));
  t.notOk(isNoSuchAddress('text'));
});
