import { rmSync } from 'node:fs';
import net from 'node:net';
import t from 'tap';
import { findHolders, parseProcNet, readProcNet } from '../../../protocol/machine/proc-net.js';
import { FakeMachine, procLine } from '../../fixtures/fake-machine.js';

const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 00000000:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000   100        0 6161 2 0000000000000000 0
`;

t.test('reads the sockets of TCP that listen, and those of UDP, in either byte order', async (t) => {
  const text = `header\n${procLine('0100007F', 8080, 42)}${procLine('0100007F', 81, 43).replace(' 0A ', ' 01 ')}`;
  t.same(parseProcNet(text, 'tcp', true), [{ ip: '127.0.0.1', port: 8080, uid: 0, inode: '42' }]);
  t.match(parseProcNet(text.replace('0100007F', '7F000001'), 'tcp', false), [{ ip: '127.0.0.1' }]);
  t.same(
    parseProcNet(text.replace('0100007F', '0100007'), 'tcp', true),
    [],
    'what is no address is left out',
  );
  t.match(parseProcNet(UDP, 'udp', true), [{ ip: '0.0.0.0', port: 8080, uid: 100, inode: '6161' }]);
});

t.test('names a process of this machine', { skip: process.platform !== 'linux' }, async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  t.teardown(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  const sockets = (await readProcNet('/proc/net', 'tcp')).filter((socket) => socket.port === port);
  const [{ ip, inode } = { ip: '', inode: '' }] = sockets;
  t.equal(ip, '127.0.0.1');
  t.match((await findHolders([inode])).get(inode), { pid: process.pid });
});

t.test('of several processes that have a socket one is named; none where none can be seen', async (t) => {
  const machine = new FakeMachine(t);
  machine.process(10, 'parent', 7);
  machine.process(11, 'child', 7, 8);
  machine.write('proc/12/comm', 'hidden\n');
  const holders = await findHolders(['7', '8', '9'], machine.proc);
  t.match(holders.get('7'), { command: /^(parent|child)$/ });
  t.same(holders.get('8'), { pid: 11, command: 'child' });
  t.equal(holders.get('9'), undefined);
  t.equal((await findHolders([], machine.proc)).size, 0);
});

t.test('a process that ends while it is looked at has lost its name', async (t) => {
  const machine = new FakeMachine(t);
  machine.process(10, 'short', 7);
  rmSync(`${machine.proc}/10/comm`);
  t.same((await findHolders(['7'], machine.proc)).get('7'), { pid: 10, command: 'a process' });
});
