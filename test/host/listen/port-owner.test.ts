import dgram from 'node:dgram';
import { chmodSync, readFileSync, symlinkSync } from 'node:fs';
import net from 'node:net';
import t from 'tap';
import { parseLsof } from '../../../host/listen/lsof.js';
import { findPortOwners, type PortOwnerSources } from '../../../host/listen/port-owner.js';
import { parseProcNet } from '../../../protocol/machine/proc-net.js';

async function findPortOwner(
  ip: string,
  port: number,
  proto: 'tcp' | 'udp',
  sources?: Partial<PortOwnerSources>,
): Promise<string | undefined> {
  const [owner] = await findPortOwners([{ proto, ip, port }], sources);
  return owner;
}

const LSOF = `p612
ccom.docker.backend
f57
n*:8080
f61
n127.0.0.1:49671
p4711
cnode
f21
n[::1]:3000
f22
nnonsense
`;

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0 100 0 0 10 0
`;
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5151 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5152 1 0 100 0 0 10 0
`;

const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 00000000:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000   100        0 6161 2 0000000000000000 0
  102: 0100007F:1F91 0100007F:0035 01 00000000:00000000 00:00000000 00000000  1000        0 6262 2 0000000000000000 0
`;

t.test('reads lsof', async (t) => {
  t.same(parseLsof(LSOF), [
    { ip: '::', port: 8080, pid: 612, command: 'com.docker.backend' },
    { ip: '127.0.0.1', port: 49671, pid: 612, command: 'com.docker.backend' },
    { ip: '::1', port: 3000, pid: 4711, command: 'node' },
  ]);
});

t.test('reads /proc/net/tcp and tcp6, in either byte order', async (t) => {
  t.same(parseProcNet(TCP, 'tcp', true), [{ ip: '127.0.0.1', port: 8080, uid: 1000, inode: '4242' }]);
  t.match(parseProcNet(TCP.replace('0100007F', '7F000001'), 'tcp', false), [{ ip: '127.0.0.1' }]);
  t.match(parseProcNet(TCP6, 'tcp', true), [
    { ip: '::1', port: 3000, uid: 0 },
    { ip: '127.0.0.1', port: 3001 },
  ]);
});

t.test('of UDP every socket has its port, connected or not', async (t) => {
  t.same(parseProcNet(UDP, 'udp', true), [
    { ip: '0.0.0.0', port: 8080, uid: 100, inode: '6161' },
    { ip: '127.0.0.1', port: 8081, uid: 1000, inode: '6262' },
  ]);
  t.same(parseLsof('p7\ncdig\nf3\nn127.0.0.1:8081->127.0.0.1:53\n'), [
    { ip: '127.0.0.1', port: 8081, pid: 7, command: 'dig' },
  ]);
  const lsof = `${t.testdir({ lsof: '#!/bin/sh\necho "$*" >"$0.args"\nprintf "p7\\ncdnsmasq\\nn*:53\\n"\n' })}/lsof`;
  chmodSync(lsof, 0o700);
  t.equal(await findPortOwner('127.0.0.1', 53, 'udp', { platform: 'darwin', lsof }), 'dnsmasq (pid 7)');
  t.equal(readFileSync(`${lsof}.args`, 'utf8'), '-nP -iUDP -Fpcnt\n');
  const proc = t.testdir({ net: { tcp: TCP, udp: UDP } });
  const linux = { platform: 'linux', proc } as const;
  t.equal(await findPortOwner('127.0.0.1', 8080, 'udp', linux), 'a process of user id 100');
  t.equal(await findPortOwner('127.0.0.1', 8080, 'tcp', linux), 'a process of user id 1000');
});

t.test('on macOS asks lsof', async (t) => {
  const lsof = `${t.testdir({ lsof: `#!/bin/sh\necho "$*" >"$0.args"\ncat <<END\n${LSOF}END\n` })}/lsof`;
  chmodSync(lsof, 0o700);
  t.equal(
    await findPortOwner('127.0.0.1', 8080, 'tcp', { platform: 'darwin', lsof }),
    'com.docker.backend (pid 612)',
  );
  t.equal(readFileSync(`${lsof}.args`, 'utf8'), '-nP -iTCP -sTCP:LISTEN -Fpcnt\n');
  t.equal(await findPortOwner('::1', 49671, 'tcp', { platform: 'darwin', lsof }), undefined);
});

t.test('lsof says of which family a wildcard is, and whose it is', async (t) => {
  const output = 'p7\\ncnginx\\nf3\\ntIPv4\\nn*:80\\np8\\ncme\\nf4\\ntIPv6\\nn*:81\\n';
  const lsof = `${t.testdir({ lsof: `#!/bin/sh\nprintf '${output}'\n` })}/lsof`;
  chmodSync(lsof, 0o700);
  const mac = { platform: 'darwin', lsof } as const;
  t.equal(await findPortOwner('127.0.0.1', 80, 'tcp', mac), 'nginx (pid 7)');
  t.equal(await findPortOwner('::1', 80, 'tcp', mac), undefined);
  t.equal(await findPortOwner('127.0.0.1', 81, 'tcp', mac), 'me (pid 8)');
  t.equal(await findPortOwner('127.0.0.1', 81, 'tcp', { ...mac, except: 8 }), undefined);
});

t.test('without lsof there is no name', async (t) => {
  const lsof = `${t.testdir({})}/lsof`;
  t.equal(await findPortOwner('127.0.0.1', 1, 'tcp', { platform: 'darwin', lsof }), undefined);
});

t.test('on Linux finds the process in proc', async (t) => {
  const proc = t.testdir({
    net: { tcp: TCP, tcp6: TCP6 },
    '17': { fd: {}, comm: 'other\n' },
    '18': { fd: {}, comm: 'nginx\n' },
    '19': { fd: {} },
    '20': {},
    self: {},
  });
  symlinkSync('socket:[1]', `${proc}/17/fd/0`);
  symlinkSync('socket:[4242]', `${proc}/18/fd/7`);
  symlinkSync('socket:[5152]', `${proc}/19/fd/7`);
  const linux = { platform: 'linux', proc } as const;
  t.equal(await findPortOwner('0.0.0.0', 8080, 'tcp', linux), 'nginx (pid 18)');
  t.equal(await findPortOwner('127.0.0.1', 3001, 'tcp', linux), 'a process (pid 19)');
  t.equal(await findPortOwner('::1', 3000, 'tcp', linux), 'a process of user id 0');
  t.equal(await findPortOwner('127.0.0.1', 9, 'tcp', linux), undefined);
});

t.test('of several with one port, the one whose address is in the way', async (t) => {
  const other =
    '   2: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 9 1 0\n';
  const proc = t.testdir({ net: { tcp: TCP + other } });
  const linux = { platform: 'linux', proc } as const;
  t.equal(await findPortOwner('127.0.0.2', 8080, 'tcp', linux), 'a process of user id 7');
  t.equal(await findPortOwner('127.0.0.1', 8080, 'tcp', linux), 'a process of user id 1000');
});

t.test('many are looked for at once', async (t) => {
  const proc = t.testdir({
    net: { tcp: TCP, tcp6: TCP6, udp: UDP },
    '18': { fd: {}, comm: 'nginx\n' },
    '19': { fd: {}, comm: 'dnsmasq\n' },
  });
  for (const [index, inode] of [1, 4242, ...Array.from({ length: 70 }, (_, other) => 100 + other)].entries())
    symlinkSync(`socket:[${inode}]`, `${proc}/18/fd/${index}`);
  symlinkSync('socket:[6161]', `${proc}/19/fd/7`);
  const ask = (proto: 'tcp' | 'udp', ip: string, port: number) => ({ proto, ip, port });
  t.same(
    await findPortOwners(
      [
        ask('tcp', '127.0.0.1', 8080),
        ask('udp', '127.0.0.1', 8080),
        ask('tcp', '0.0.0.0', 8080),
        ask('tcp', '127.0.0.1', 1),
      ],
      { platform: 'linux', proc },
    ),
    ['nginx (pid 18)', 'dnsmasq (pid 19)', 'nginx (pid 18)', undefined],
  );
});

t.test('on Linux without IPv6, or without proc', async (t) => {
  const proc = t.testdir({ net: { tcp: TCP } });
  t.equal(
    await findPortOwner('127.0.0.1', 8080, 'tcp', { platform: 'linux', proc }),
    'a process of user id 1000',
  );
  t.equal(
    await findPortOwner('127.0.0.1', 8080, 'tcp', { platform: 'linux', proc: `${proc}/none` }),
    undefined,
  );
});

t.test('finds this process', async (t) => {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const owner = await findPortOwner('127.0.0.1', port, 'tcp');
  t.match(owner, new RegExp(`\\(pid ${process.pid}\\)$`));
});

t.test('finds the UDP socket of this process', async (t) => {
  const socket = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  t.teardown(() => socket.close());
  const { port } = socket.address();
  t.match(await findPortOwner('0.0.0.0', port, 'udp'), new RegExp(`\\(pid ${process.pid}\\)$`));
});

t.test('of several sockets on one port it is the one on the address that is wanted', async (t) => {
  const [first, second] = [net.createServer(), net.createServer()];
  for (const server of [first, second]) t.teardown(() => server.close());
  await new Promise<void>((resolve) => first.listen(0, '127.0.0.1', resolve));
  const { port } = first.address() as net.AddressInfo;
  await new Promise<void>((resolve) => second.listen(port, '127.0.0.2', resolve));
  t.match(await findPortOwner('127.0.0.2', port, 'tcp'), `pid ${process.pid}`);
  t.equal(await findPortOwner('127.0.0.3', port, 'tcp'), undefined);
});
