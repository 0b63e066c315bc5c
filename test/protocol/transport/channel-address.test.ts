import t from 'tap';
import { UsageError } from '../../../protocol/errors.js';
import {
  type ChannelAddress,
  checkMode,
  describeAddress,
  formatAddress,
  parseAddress,
} from '../../../protocol/transport/channel-address.js';

const READ: [text: string, address: ChannelAddress, formatted?: string][] = [
  ['unix:/run/p.sock', { kind: 'unix', path: '/run/p.sock' }],
  ['unix:rel/with:colon', { kind: 'unix', path: 'rel/with:colon' }],
  ['tcp:127.0.0.1:7000', { kind: 'tcp', host: '127.0.0.1', port: 7000 }],
  ['tcp:127.255.0.9:0', { kind: 'tcp', host: '127.255.0.9', port: 0 }],
  ['tcp:localhost:65535', { kind: 'tcp', host: '127.0.0.1', port: 65535 }, 'tcp:127.0.0.1:65535'],
  ['tcp:[::1]:1', { kind: 'tcp', host: '::1', port: 1 }],
  ['tcp:[0:0:0:0:0:0:0:1]:1', { kind: 'tcp', host: '0:0:0:0:0:0:0:1', port: 1 }],
  ['virtserial:/dev/virtio-ports/a:b', { kind: 'virtserial', path: '/dev/virtio-ports/a:b' }],
  ['vsock:62372', { kind: 'vsock', cid: undefined, port: 62372 }],
  ['vsock:0x3:0xf3a4', { kind: 'vsock', cid: 3, port: 62372 }, 'vsock:3:62372'],
  ['hyperkit:/vms/0:62372', { kind: 'hyperkit', dir: '/vms/0', port: 62372 }],
  ['hyperkit:/v:ms/0:0xF3a4', { kind: 'hyperkit', dir: '/v:ms/0', port: 0xf3a4 }, 'hyperkit:/v:ms/0:62372'],
  ['firecracker:/run/v.sock:1024', { kind: 'firecracker', path: '/run/v.sock', port: 1024 }],
  [
    'firecracker:/v:4294967294',
    { kind: 'firecracker', path: '/v', port: 0xfffffffe },
    'firecracker:/v:4294967294',
  ],
  ['stdio:', { kind: 'stdio' }],
  ['exec:true', { kind: 'exec', command: ['true'], text: 'true' }],
  [
    'exec: ssh  -p 22 vm "a b"\\ c \'$HOME *\' ',
    {
      kind: 'exec',
      command: ['ssh', '-p', '22', 'vm', 'a b c', '$HOME *'],
      text: ' ssh  -p 22 vm "a b"\\ c \'$HOME *\' ',
    },
  ],
  // A blank that is quoted belongs to the last word, and not everything that is blank separates words.
  ['exec:a \\ ', { kind: 'exec', command: ['a', ' '], text: 'a \\ ' }],
  ['exec:\f', { kind: 'exec', command: ['\f'], text: '\f' }],
  ['exec:a ""', { kind: 'exec', command: ['a', ''], text: 'a ""' }],
];

t.test('logs and reports do not show what a command is given', async (t) => {
  t.equal(describeAddress(parseAddress('exec:ssh -i key vm')), 'exec:ssh …');
  t.equal(describeAddress(parseAddress('exec:true')), 'exec:true');
  t.equal(describeAddress(parseAddress('unix:/c')), 'unix:/c');
});

for (const [text, address, formatted = text] of READ) {
  t.test(`reads ${text}`, async (t) => {
    t.same(parseAddress(text), address);
    t.equal(formatAddress(address), formatted);
    t.same(parseAddress(formatted), address);
  });
}

const REFUSED: [text: string, why: RegExp][] = [
  ['', /its kind is not known; the forms are unix:PATH, tcp:HOST:PORT, vsock:\[CID:\]PORT, /],
  ['/run/p.sock', /its kind is not known/],
  ['Unix:/run/p.sock', /its kind is not known/],
  ['stdio:x', /nothing follows stdio:/],
  ['exec:', /the command is missing; the form is exec:COMMAND/],
  ['exec:  ', /the command is missing/],
  ['exec:"" x', /the command is missing/],
  ['exec:a "b', /a quote or a backslash in it lacks its end/],
  ['exec:a\\', /a quote or a backslash in it lacks its end/],
  ["exec:a $'\\0'", /NUL/],
  ['vsock:', /the vsock port must be a number from 1 to 4294967294, .* the form is vsock:\[CID:\]PORT/],
  ['vsock:0:62372', /the CID, which is a machine's number, must be from 1 to 4294967294; 2 is the host/],
  ['vsock:3:', /the vsock port must/],
  ['vsock:x:5', /the CID/],
  ['vsock::5', /the CID/],
  ['virtserial:', /the path is missing; the form is virtserial:PATH/],
  ['unix:', /the path is missing; the form is unix:PATH/],
  ['unix:/a\0b', /NUL/],
  ['tcp:127.0.0.1', /the port is missing; the form is tcp:HOST:PORT/],
  ['tcp:127.0.0.1:', /the port must be a number from 0 to 65535; the form is tcp:HOST:PORT/],
  ['tcp:127.0.0.1:65536', /from 0 to 65535/],
  ['tcp:127.0.0.1:-1', /from 0 to 65535/],
  ['tcp:127.0.0.1:1e3', /from 0 to 65535/],
  ['tcp::80', /the host must be an IP address or localhost/],
  ['tcp:example.com:80', /the host must be an IP address or localhost/],
  ['tcp:[127.0.0.1]:80', /the host must be an IP address/],
  ['tcp:::1:80', /an IPv6 address is written in brackets: tcp:\[::1\]:PORT/],
  ['tcp:0.0.0.0:80', /0\.0\.0\.0 is not loopback, .* use 127\.0\.0\.1, \[::1\] or localhost/],
  ['tcp:192.168.1.4:80', /is not loopback/],
  ['tcp:[::]:80', /is not loopback/],
  ['tcp:[fe80::1%eth0]:80', /is not loopback/],
  ['hyperkit:/vms/0', /the port is missing; the form is hyperkit:DIR:PORT/],
  ['hyperkit::5', /the path is missing; the form is hyperkit:DIR:PORT/],
  ['hyperkit:/vms/0:f3a4', /the vsock port must be a number from 1 to 4294967294, decimal or 0x/],
  ['hyperkit:/vms/0:0', /from 1 to 4294967294/],
  ['firecracker:/v:4294967295', /from 1 to 4294967294/],
  ['firecracker:/v', /the port is missing; the form is firecracker:PATH:PORT/],
];

for (const [text, why] of REFUSED) {
  t.test(`refuses ${JSON.stringify(text)}`, async (t) => {
    const error = t.throws(() => parseAddress(text), UsageError) as Error;
    t.match(error.message, why);
    t.ok(error.message.startsWith(`${JSON.stringify(text)} is not a channel address: `));
    t.notMatch(error.message, '\n');
  });
}

t.test('takes remote tcp addresses where it is told to', async (t) => {
  const options = { allowRemote: true };
  t.same(parseAddress('tcp:0.0.0.0:80', options), { kind: 'tcp', host: '0.0.0.0', port: 80 });
  t.same(parseAddress('tcp:[fe80::1%eth0]:80', options), { kind: 'tcp', host: 'fe80::1%eth0', port: 80 });
  t.throws(() => parseAddress('tcp:example.com:80', options), UsageError);
});

t.test('what can only be listened on, or only be connected to, says so', async (t) => {
  for (const text of ['exec:ssh vm', 'stdio:']) {
    checkMode(parseAddress(text), 'connect');
    t.throws(() => checkMode(parseAddress(text), 'listen'), {
      name: 'UsageError',
      message: `cannot listen on "${text}": nobody connects there by itself; it is for --connect`,
    });
  }
  checkMode(parseAddress('tcp:127.0.0.1:0'), 'listen');
  checkMode(parseAddress('tcp:127.0.0.1:1'), 'connect');
  t.throws(() => checkMode(parseAddress('tcp:127.0.0.1:0'), 'connect'), {
    name: 'UsageError',
    message: 'cannot connect to "tcp:127.0.0.1:0": port 0 is for listening only',
  });
});
