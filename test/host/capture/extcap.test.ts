import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { answerExtcap, extcapInterfaces, readExtcapQuestion } from '../../../host/capture/extcap.js';
import {
  extcapPlaces,
  extcapStarter,
  installExtcap,
  uninstallExtcap,
} from '../../../host/capture/install-extcap.js';
import { OperationError, UsageError } from '../../../protocol/errors.js';
import { temporaryFolder } from '../../fixtures/programs.js';

const FORWARDS = [
  { id: 'tcp localhost:8080', destination: 'tcp 127.0.0.1:80', annotation: 'pod {web}' },
  { id: 'tcp 127.0.0.1:8080', destination: 'tcp 127.0.0.1:81', container: 'db', container_id: '1a2b3c' },
  { id: 'tcp 127.0.0.1-8080', destination: 'tcp 127.0.0.1:82', container: 'api' },
  { id: 'tcp 127.0.0.1_8080', destination: 'tcp 127.0.0.1:83' },
  { id: 'udp *:53', destination: 'udp 127.0.0.1:53' },
  { id: 'tcp [::1]:80,127.0.0.2:80', destination: 'tcp 127.0.0.1:80' },
  { id: 'unix /tmp/db.sock', destination: 'unix /run/db.sock' },
];

t.test('each forward is an interface of its own name', (t) => {
  const interfaces = extcapInterfaces(FORWARDS);
  t.same(
    interfaces.map(({ name, of }) => [name, of]),
    [
      ['portferry-8080', 'localhost:8080/tcp'],
      ['portferry-127.0.0.1-8080', '127.0.0.1:8080/tcp'],
      ['portferry-127.0.0.1-8080-2', '127.0.0.1-8080/tcp'],
      ['portferry-127.0.0.1-8080-3', '127.0.0.1_8080/tcp'],
      ['portferry-any-53-udp', '*:53/udp'],
      ['portferry-1-80-127.0.0.2-80', '[::1]:80/tcp'],
      ['portferry-unix-tmp-db.sock', 'unix:/tmp/db.sock'],
      ['portferry-frames', undefined],
    ],
  );
  const answer = answerExtcap({ kind: 'interfaces' }, interfaces, '1.2.3');
  t.match(answer, /^extcap \{version=1\.2\.3\}\{help=/);
  t.match(
    answer,
    'interface {value=portferry-8080}{display=portferry: tcp localhost:8080 → tcp 127.0.0.1:80, pod  web }\n',
  );
  t.match(
    answer,
    /tcp 127\.0\.0\.1:81, container db \(1a2b3c\)\}\n.* → tcp 127\.0\.0\.1:82, container api\}\n/,
  );
  t.match(answerExtcap({ kind: 'interfaces' }, extcapInterfaces(undefined), '1'), /no host is running/);
  t.end();
});

t.test('thousands whose names come out the same have names of their own, at once', async (t) => {
  const paths = Array.from(
    { length: 16_384 },
    (_, index) => `/a${'-'.repeat(index % 100)}/${'-'.repeat(index / 100)}b`,
  );
  const forwards = paths.map((path) => ({ id: `unix ${path}`, destination: 'unix /x' }));
  const names = extcapInterfaces(forwards).map(({ name }) => name);
  t.equal(new Set(names).size, forwards.length + 1);
  t.equal(names.filter((name) => name.startsWith('portferry-unix-a-b-')).length, forwards.length - 1);
});

t.test('what Wireshark asks', (t) => {
  t.same(readExtcapQuestion(['--extcap-interfaces', '--extcap-version=4.0']), { kind: 'interfaces' });
  t.same(readExtcapQuestion(['--extcap-interface', 'a', '--extcap-dlts']), { kind: 'dlts', interface: 'a' });
  t.same(readExtcapQuestion(['--extcap-config', '--extcap-interface=a']), { kind: 'config', interface: 'a' });
  const capture = [
    '--capture',
    '--extcap-interface',
    'a',
    '--fifo',
    '/tmp/f',
    '--duration',
    '5',
    '--newer',
    'x',
  ];
  t.same(readExtcapQuestion(capture), {
    kind: 'capture',
    interface: 'a',
    fifo: '/tmp/f',
    limits: { duration: '5' },
  });
  for (const wrong of [
    [],
    ['x'],
    ['--capture'],
    ['--extcap-interface', 'a'],
    ['--capture', '--extcap-interface=a', '--fifo'],
  ])
    t.throws(() => readExtcapQuestion(wrong), UsageError);
  const dlt = (name: string): string => answerExtcap({ kind: 'dlts', interface: name }, [], '1');
  t.equal(dlt('portferry-8080'), 'dlt {number=101}{name=RAW}{display=Raw IP}\n');
  t.equal(dlt('portferry-frames'), 'dlt {number=154}{name=USER7}{display=portferry frames}\n');
  t.match(
    answerExtcap({ kind: 'config', interface: 'a' }, [], '1'),
    /^arg \{number=0\}\{call=--snaplen\}.*\narg \{number=1\}\{call=--duration\}.*\{range=1,604800\}\{default=3600\}\n/,
  );
  t.end();
});

t.test('the starter is installed, again and again, and removed', (t) => {
  const home = temporaryFolder(t);
  const places = extcapPlaces({ HOME: home });
  t.same(places, {
    extcap: [`${home}/.local/lib/wireshark/extcap`, `${home}/.config/wireshark/extcap`],
    plugins: `${home}/.local/lib/wireshark/plugins`,
  });
  t.equal(extcapPlaces({ HOME: home, XDG_CONFIG_HOME: '/c' }).extcap[1], '/c/wireshark/extcap');
  t.equal(extcapPlaces({ HOME: home, XDG_CONFIG_HOME: 'c' }).extcap[1], places.extcap[1]);
  t.type(extcapPlaces({}).plugins, 'string');
  const starter = extcapStarter(['/usr/bin/node', "/it's here/main.js"], '/run/c.sock');
  t.match(
    starter,
    `\nexec /usr/bin/node '/it'\\''s here/main.js' capture --control /run/c.sock --extcap -- "$@"\n`,
  );
  const files = installExtcap(places, starter);
  t.same(installExtcap(places, starter), files);
  t.equal(files.length, 3);
  t.equal(readFileSync(files[0] ?? '', 'utf8'), starter);
  t.equal(statSync(files[1] ?? '').mode & 0o777, 0o755);
  t.match(readFileSync(files[2] ?? '', 'utf8'), /Proto\("portferry"/);
  t.same(uninstallExtcap(places), files);
  t.same(uninstallExtcap(places), []);
  t.end();
});

t.test('what is not ours is left alone, and what cannot be written is said', (t) => {
  const home = temporaryFolder(t);
  const places = extcapPlaces({ HOME: home });
  const [folder = ''] = places.extcap;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'portferry'), '#!/bin/sh\n');
  t.throws(() => installExtcap(places, 'x'), { constructor: OperationError, message: /is not portferry's/ });
  t.throws(() => uninstallExtcap(places), OperationError);
  const file = join(home, 'file');
  writeFileSync(file, '');
  t.throws(() => installExtcap({ extcap: [], plugins: join(file, 'x') }, 'x'), /not a directory \(ENOTDIR\)/);
  t.end();
});
