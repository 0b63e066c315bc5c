import { writeFileSync } from 'node:fs';
import net from 'node:net';
import t, { type Test } from 'tap';
import type { DoctorReport } from '../../host/diagnose/diagnosis.js';
import type { Pair } from '../e2e/fixtures/pair.js';
import { freePorts } from '../fixtures/free-ports.js';
import { Program, requireProgram } from '../fixtures/programs.js';
import { BUSYBOX, DockerVm } from './fixtures/docker.js';
import { type DockerEngine, withEachEngine } from './fixtures/docker-engines.js';
import { FailureTail } from './fixtures/failure-tail.js';
import { PublishingPair } from './fixtures/publishing-pair.js';

const RESERVED = 100;
const SECOND = 1000;

/** A web server in a container. */
const httpd = (listen: string): string[] => [BUSYBOX, 'httpd', '-f', '-h', '/www', '-p', listen];

/** Servers of the VM itself: each line of this script is one. */
const serve = (onClient: string, port: number, host: string): string[] => [
  process.execPath,
  '-e',
  `require('net').createServer((socket) => { ${onClient} }).listen(${port}, '${host}', () => console.log('ready'))`,
];

interface Bench {
  vm: DockerVm;
  on: PublishingPair;
  takePort(): number;
}

/** A set-up, and what doctor must end with: nothing where all is well. */
interface SetUp {
  name: string;
  /** @returns what doctor is asked about */
  make(t: Test, bench: Bench): Promise<string>;
  problem?: RegExp;
  advice?: RegExp;
  /** The hop that gets the ✗. */
  hop?: string;
  /**
   * What `portferry list` says of it afterwards, when doctor has tried a connection. Where all is well, or nothing was
   * tried, there is no line about failures.
   */
  list: RegExp;
  /** What `portferry tail --failures` says of the connection that doctor has tried; or why it says nothing. */
  tail: RegExp | Silence;
}

/** Why no connection of doctor's has failed and ended. */
type Silence =
  | 'it works'
  | 'nothing is tried, since nobody would answer'
  | 'it is tried past portferry'
  | 'it still hangs when doctor has given it up';

/** No connection has failed: what is listed, if anything is, has no cause below the table. */
const NOTHING_FAILED = /^(?!.*: failed (once|\d))/s;
const REFUSED =
  /^tcp \S+:\d+: failed once \(SC ECONNREFUSED\), the last time \d+ s ago: the guest could not reach tcp /m;

const REFUSED_TAIL = /^SC ECONNREFUSED: the guest could not reach tcp /;

let names = 0;

/** Runs a container until the subtest ends. @returns its name */
async function container(t: Test, { vm }: Bench, options: string[], ...command: string[]): Promise<string> {
  const name = `one${++names}`;
  t.teardown(() => vm.docker('rm', '-f', name));
  await vm.start(['--name', name, ...options], ...command);
  return name;
}

/** Runs a server in the VM's own network until the subtest ends. */
async function inVm(t: Test, { vm }: Bench, command: string[]): Promise<void> {
  const [enter = '', ...rest] = [...vm.enter, ...command];
  await Program.start(t, enter, rest).line(/ready/);
}

/** One more forward of the host, until the subtest ends. @returns the host's port */
async function forward(t: Test, { on, takePort }: Bench, to: string): Promise<string> {
  const port = takePort();
  await on.pair.run('expose', `127.0.0.1:${port}:${to}`);
  t.teardown(() => on.pair.run('unexpose', String(port)));
  return String(port);
}

const SET_UPS: readonly SetUp[] = [
  {
    name: 'all is well: a container on the default bridge',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      await bench.on.listens(`tcp *:${port}`);
      return String(port);
    },
  },
  {
    name: 'all is well: a container in a network of its own, published on an address and a port that the engine chose',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      t.teardown(() => bench.vm.docker('network', 'rm', 'own'));
      await bench.vm.docker('network', 'create', 'own');
      const name = await container(
        t,
        bench,
        ['--network', 'own', '-p', '127.0.0.1::5000', '-p', '127.0.0.1::22'],
        ...httpd('5000'),
      );
      const published = await bench.vm.docker('port', name, '5000');
      const port = /:(\d+)/.exec(published)?.[1] ?? '';
      await bench.on.listens(`tcp 127.0.0.1:${port}`);
      return port;
    },
  },
  {
    name: 'all is well: by the port that docker-proxy and DNAT have',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      return forward(t, bench, String(port));
    },
  },
  {
    name: 'all is well: a server of the VM itself',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('', port, '127.0.0.1'));
      return forward(t, bench, String(port));
    },
  },
  {
    name: 'nothing anywhere',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    make: async (_t, { takePort }) => String(takePort()),
    hop: 'forward',
    problem:
      /^tcp \d+ is not forwarded: nothing listens on it on the host, and nothing in the VM publishes it$/,
    advice: /docker run -p/,
  },
  {
    name: 'a container that is not there',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    make: async () => 'nosuch',
    problem: /^nosuch is not forwarded: the host has no such forward/,
  },
  {
    name: 'a program of the user has the port, and nobody wants it forwarded',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, { takePort }) {
      const port = takePort();
      await listenHere(t, port);
      return String(port);
    },
    hop: 'host',
    problem: /^tcp \d+ on the host is not portferry's: \S+ \(pid \d+\) listens on 127\.0\.0\.1:\d+$/,
  },
  {
    name: 'a program of the user has the port that a container publishes',
    list: /^tcp 127\.0\.0\.1:\d+: cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/m,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      await listenHere(t, port);
      await container(t, bench, ['-p', `127.0.0.1:${port}:80`], ...httpd('80'));
      await bench.on.listed(`tcp 127.0.0.1:${port}`, ({ state }) => state === 'failed');
      return String(port);
    },
    hop: 'host',
    problem: /is not portferry's: \S+ \(pid \d+\) listens on 127\.0\.0\.1:\d+$/,
    advice: /portferry takes the port by itself/,
  },
  {
    name: 'the container has ended',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      const name = await container(t, bench, ['-p', `${port}:80`], BUSYBOX, 'sh', '-c', 'exit 3');
      await bench.vm.docker('wait', name);
      await bench.on.lacks(`tcp *:${port}`);
      return String(port);
    },
    hop: 'container',
    problem: /^container one\d+ \(\w{12}\) does not run: it is exited with exit code 3$/,
    advice: /docker start one\d+.*docker logs one\d+/,
  },
  {
    name: 'the container was never started',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      const name = `one${++names}`;
      t.teardown(() => bench.vm.docker('rm', '-f', name));
      await bench.vm.docker('create', '--name', name, '-p', `${port}:80`, 'portferry-test', ...httpd('80'));
      return String(port);
    },
    hop: 'container',
    problem: /does not run: it is created$/,
    advice: /docker start/,
  },
  {
    name: 'the container is paused',
    list: /^tcp \*:\d+ .* listening +docker: one\d+$/m,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      const name = await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      await bench.on.listens(`tcp *:${port}`);
      await bench.vm.docker('pause', name);
      t.teardown(() => bench.vm.docker('unpause', name));
      return String(port);
    },
    hop: 'container',
    problem: /does not run: it is paused$/,
    advice: /docker unpause/,
  },
  {
    name: 'the container ends again and again',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      const name = await container(
        t,
        bench,
        ['--restart', 'always', '-p', `${port}:80`],
        BUSYBOX,
        'sh',
        '-c',
        'exit 4',
      );
      await until(async () =>
        (await bench.vm.docker('inspect', '-f', '{{.State.Status}} {{.RestartCount}}', name)).match(
          /^restarting ([4-9]|\d\d)/,
        ),
      );
      return String(port);
    },
    hop: 'container',
    problem:
      /does not run: it is restarting with exit code 4$|ends again and again: it was started anew \d+ times/,
    advice: /docker logs one\d+ says why it ends/,
  },
  {
    name: 'the container says itself that it is unhealthy',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      const port = bench.takePort();
      const check = ['--health-cmd', 'false', '--health-interval', '1s', '--health-retries', '1'];
      const name = await container(t, bench, [...check, '-p', `${port}:80`], ...httpd('80'));
      await until(async () =>
        (await bench.vm.docker('inspect', '-f', '{{.State.Health.Status}}', name)).includes('unhealthy'),
      );
      await bench.on.listens(`tcp *:${port}`);
      return String(port);
    },
    hop: 'container',
    problem: /its own check says that it is unhealthy$/,
    advice: /docker inspect/,
  },
  {
    name: 'the container publishes nothing',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    make: (t, bench) => container(t, bench, [], ...httpd('80')),
    hop: 'container',
    problem: /^container one\d+ \(\w{12}\) runs, and publishes no port$/,
    advice: /-p HOST_PORT/,
  },
  {
    name: 'a container listens on the port, and publishes nothing',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      const name = await container(t, bench, [], ...httpd(String(port)));
      await until(async () =>
        (await bench.vm.docker('exec', name, BUSYBOX, 'netstat', '-lnt')).includes(`:${port} `),
      );
      return String(port);
    },
    hop: 'container',
    problem: /container one\d+ \(\w{12}\) listens on a port of that number, and does not publish it$/,
  },
  {
    name: 'the server in the container listens on its 127.0.0.1 alone',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('127.0.0.1:80'));
      await bench.on.listens(`tcp *:${port}`);
      return String(port);
    },
    hop: 'server',
    problem: /^the server in container one\d+ \(\w{12}\) listens on 127\.0\.0\.1:80 only/,
    advice: /0\.0\.0\.0/,
  },
  {
    name: 'the server in the container listens on another port',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('3000'));
      await bench.on.listens(`tcp *:${port}`);
      return String(port);
    },
    hop: 'server',
    problem:
      /^nothing listens on port 80 in container one\d+ \(\w{12}\): busybox \(pid \d+\) listens on \[::\]:3000$/,
    advice: /publish the port on which its server listens/,
  },
  {
    name: 'no server in the container yet',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], BUSYBOX, 'sleep', '1000');
      await bench.on.listens(`tcp *:${port}`);
      return String(port);
    },
    hop: 'server',
    problem: /: nothing listens in it$/,
    advice: /has not started, or not yet/,
  },
  {
    name: 'behind docker-proxy nobody listens: it takes the connection all the same',
    list: /: failed once \((SE|SD ECONNRESET)\), the last time /,
    tail: /^(SE|SD ECONNRESET): the server /,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], BUSYBOX, 'sleep', '1000');
      return forward(t, bench, String(port));
    },
    hop: 'server',
    problem: /^nothing listens on port 80 in container/,
  },
  {
    name: 'a firewall in the VM drops what is sent to the container',
    // It hangs: nothing has failed yet, and nothing has come back.
    list: /^tcp \*:\d+ .* 1 +1 +0 B +0 B +listening/m,
    tail: 'it still hangs when doctor has given it up',
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      await bench.on.listens(`tcp *:${port}`);
      await firewall(t, bench, '-p', 'tcp', '--dport', '80', '-j', 'DROP');
      return String(port);
    },
    hop: 'firewall',
    problem:
      /^a firewall rule in the VM stops packets to it: iptables-\w+, chain OUTPUT: .*--dport 80 -j DROP$/,
  },
  {
    name: 'a firewall in the VM rejects what is sent to a server',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('', port, '127.0.0.1'));
      await firewall(t, bench, '-p', 'tcp', '--dport', String(port), '-j', 'REJECT');
      return forward(t, bench, String(port));
    },
    hop: 'firewall',
    problem: /chain OUTPUT: .* -j REJECT/,
  },
  {
    name: 'nothing in the VM listens where the forward leads',
    list: REFUSED,
    tail: REFUSED_TAIL,
    make: (t, bench) => forward(t, bench, String(bench.takePort())),
    hop: 'guest',
    problem: /^nothing in the VM listens on 127\.0\.0\.1:\d+, where tcp 127\.0\.0\.1:\d+ leads$/,
    advice: /start the server in the VM/,
  },
  {
    name: 'the server in the VM listens on ::1 alone',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('', port, '::1'));
      return forward(t, bench, String(port));
    },
    hop: 'guest',
    problem: /: \S+ \(pid \d+\) listens on \[::1\]:\d+$/,
    advice: /name the address on which it listens/,
  },
  {
    name: 'the server takes the connection and resets it',
    list: /: failed once \(SD ECONNRESET\), the last time .*: the server reset the connection/,
    tail: /^SD ECONNRESET: the server reset the connection/,
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('socket.resetAndDestroy()', port, '127.0.0.1'));
      return forward(t, bench, String(port));
    },
    hop: 'server',
    problem: /the server reset the connection/,
    advice: /the server's own log/,
  },
  {
    name: 'the server takes the connection and ends it without a byte',
    list: /: failed once \(SE\), the last time .*: the server ended the connection without having sent a byte$/m,
    tail: /^SE: the server ended the connection without having sent a byte$/,
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('socket.end()', port, '127.0.0.1'));
      return forward(t, bench, String(port));
    },
    hop: 'server',
    problem: /ended the connection.*\(SE\)$/,
  },
  {
    name: 'there is no route to the destination',
    list: /: failed once \(SC ENETUNREACH\), the last time .*: the guest could not reach tcp 203\.0\.113\.1:80: ENETUNREACH/,
    tail: /^SC ENETUNREACH: the guest could not reach tcp 203\.0\.113\.1:80: /,
    make: (t, bench) => forward(t, bench, '203.0.113.1:80'),
    problem: /ENETUNREACH/,
    advice: /no route/,
  },
  {
    name: 'a unix socket that is not there',
    list: /^unix \S+: failed once \(SC ENOENT\), the last time .*: the guest could not reach unix .*: ENOENT/m,
    tail: /^SC ENOENT: the guest could not reach unix /,
    async make(t, { on, vm }) {
      const path = `unix:${vm.folder}/h.sock`;
      await on.pair.run('expose', `${path}:${vm.folder}/nosuch.sock`);
      t.teardown(() => on.pair.run('unexpose', path));
      return path;
    },
    problem: /ENOENT/,
  },
  // What is between the two ends, and around them.
  {
    name: 'the container publishes its port on ::1 alone, and the forward leads to 127.0.0.1',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `[::1]:${port}:80`], ...httpd('80'));
      return forward(t, bench, String(port));
    },
    hop: 'guest',
    problem:
      /^nothing in the VM listens on 127\.0\.0\.1:\d+, .*docker-proxy \(pid \d+\) listens on \[::1\]:\d+$/,
    advice: /name the address on which it listens/,
  },
  {
    name: 'the container publishes its port on another address of the VM than the forward leads to',
    list: REFUSED,
    tail: REFUSED_TAIL,
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `127.0.0.2:${port}:80`], ...httpd('80'));
      return forward(t, bench, String(port));
    },
    hop: 'guest',
    problem: /docker-proxy \(pid \d+\) listens on 127\.0\.0\.2:\d+$/,
  },
  {
    name: 'the container wants a port that another one has',
    list: NOTHING_FAILED,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      const name = `one${++names}`;
      t.teardown(() => bench.vm.docker('rm', '-f', name));
      await t.rejects(bench.vm.start(['--name', name, '-p', `${port}:80`], ...httpd('80')));
      return name;
    },
    hop: 'container',
    problem:
      /^container one\d+ \(\w{12}\) does not run: it is created, and container one\d+ \(\w{12}\) publishes port \d+, which it wants$/,
    advice: /^docker stop one\d+, or give one of them another port; then docker start one\d+$/,
  },
  {
    name: 'nobody has the address that the forward leads to, in a network of the VM',
    list: /: failed once \(SC EHOSTUNREACH\), the last time .*: the guest could not reach tcp 172\.17\.255\.250:80: EHOSTUNREACH/,
    tail: /^SC EHOSTUNREACH: the guest could not reach tcp 172\.17\.255\.250:80: /,
    make: (t, bench) => forward(t, bench, '172.17.255.250:80'),
    problem: /EHOSTUNREACH/,
    advice: /no route/,
  },
  {
    name: 'the destination swallows what is sent to it',
    list: /^tcp 127\.0\.0\.1:\d+ +198\.51\.100\.9:80 +1 +1 +0 B +0 B +listening/m,
    tail: 'it still hangs when doctor has given it up',
    async make(t, bench) {
      await swallow(t, bench, '198.51.100.1/24', '198.51.100.9');
      return forward(t, bench, '198.51.100.9:80');
    },
    hop: 'server',
    problem: /^the guest has been dialling tcp 198\.51\.100\.9:80 for seconds without an answer$/,
    advice: /drops the packets, or the address is not there/,
  },
  {
    name: "the host's address that is asked for is none of this host",
    list: /^tcp 198\.51\.100\.77:\d+: cannot listen on 198\.51\.100\.77:\d+: .*EADDRNOTAVAIL/m,
    tail: 'nothing is tried, since nobody would answer',
    async make(t, { on, vm, takePort }) {
      const port = takePort();
      t.teardown(() => vm.docker('rm', '-f', 'elsewhere'));
      await vm.inside('ip', 'addr', 'add', '198.51.100.77/32', 'dev', 'lo');
      t.teardown(() => vm.inside('ip', 'addr', 'del', '198.51.100.77/32', 'dev', 'lo'));
      await vm.start(['--name', 'elsewhere', '-p', `198.51.100.77:${port}:80`], ...httpd('80'));
      await on.listed(`tcp 198.51.100.77:${port}`, ({ state }) => state === 'failed');
      return String(port);
    },
    hop: 'forward',
    problem: /^tcp 198\.51\.100\.77:\d+ is not listened on: .*EADDRNOTAVAIL/,
  },
  {
    name: 'another program has the other address of localhost',
    list: NOTHING_FAILED,
    tail: 'it works',
    make: (t, bench) => withNeighbour(t, bench, '::1'),
    hop: 'host',
    problem: /^\S+ \(pid \d+\) listens on \[::1\]:\d+ itself, and gets what is sent there instead of tcp 127/,
    advice: /^stop /,
  },
  {
    name: 'all is well: another program has the port on an address of its own',
    list: NOTHING_FAILED,
    tail: 'it works',
    make: (t, bench) => withNeighbour(t, bench, '127.0.0.2'),
  },
  {
    name: 'a chain of the firewall in the VM lets nothing pass',
    list: /^tcp 127\.0\.0\.1:\d+ .* 1 +1 +0 B +0 B +listening/m,
    tail: 'it still hangs when doctor has given it up',
    async make(t, bench) {
      const port = bench.takePort();
      await inVm(t, bench, serve('', port, '127.0.0.1'));
      await bench.vm.inside('iptables', '-P', 'OUTPUT', 'DROP');
      t.teardown(() => bench.vm.inside('iptables', '-P', 'OUTPUT', 'ACCEPT'));
      return forward(t, bench, String(port));
    },
    hop: 'firewall',
    problem: /iptables-\w+, chain OUTPUT: policy DROP$/,
  },
  {
    name: 'all is well: a firewall has dropped what others sent',
    list: NOTHING_FAILED,
    tail: 'it works',
    async make(t, bench) {
      const port = bench.takePort();
      await container(t, bench, ['-p', `${port}:80`], ...httpd('80'));
      await bench.on.listens(`tcp *:${port}`);
      await firewall(t, bench, '-p', 'tcp', '--dport', '9', '-j', 'REJECT');
      return String(port);
    },
  },
  {
    name: "all is well: Docker's own forwarder has the port",
    list: NOTHING_FAILED,
    tail: 'it is tried past portferry',
    async make(t, bench) {
      const { port, path } = await denied(t, bench);
      await forwardAs(t, 'com.docker.backend', port, path);
      return String(port);
    },
  },
  {
    name: "Docker's own forwarder has the port, and nobody listens in the container",
    list: NOTHING_FAILED,
    tail: 'it is tried past portferry',
    async make(t, bench) {
      const { port, path } = await denied(t, bench, BUSYBOX, 'sleep', '1000');
      await forwardAs(t, 'com.docker.backend', port, path);
      return String(port);
    },
    hop: 'server',
    problem: /: nothing listens in it$/,
  },
];

/** A server of the user's on the host, which is this very process. */
async function listenHere(t: Test, port: number, ip = '127.0.0.1'): Promise<void> {
  const server = net.createServer();
  t.teardown(() => void server.close());
  await new Promise<void>((resolve) => server.listen(port, ip, resolve));
}

async function firewall(t: Test, { vm }: Bench, ...rule: string[]): Promise<void> {
  await vm.inside('iptables', '-I', 'OUTPUT', ...rule);
  t.teardown(() => vm.inside('iptables', '-D', 'OUTPUT', ...rule));
}

/** A network of the VM's where nobody is, and an address in it for which packets are sent all the same. */
async function swallow(t: Test, { vm }: Bench, own: string, address: string): Promise<void> {
  await vm.inside('ip', 'link', 'add', 'hole', 'type', 'veth', 'peer', 'name', 'bottom');
  t.teardown(() => vm.inside('ip', 'link', 'del', 'hole'));
  await vm.inside('ip', 'addr', 'add', own, 'dev', 'hole');
  for (const end of ['hole', 'bottom']) await vm.inside('ip', 'link', 'set', end, 'up');
  await vm.inside('ip', 'neigh', 'add', address, 'lladdr', '02:00:00:00:00:09', 'dev', 'hole');
}

/** A container that wants no forward of portferry's; its port can be reached by a unix socket from outside the VM. */
async function denied(t: Test, bench: Bench, ...command: string[]): Promise<{ port: number; path: string }> {
  const port = bench.takePort();
  const options = ['--label', 'portferry.publish=false', '-p', `127.0.0.1:${port}:80`];
  await container(t, bench, options, ...(command.length > 0 ? command : httpd('80')));
  const path = `${bench.vm.folder}/${port}.sock`;
  const [enter = '', ...rest] = bench.vm.enter;
  await Program.start(t, enter, [...rest, ...relay(`'${path}'`, `${port}, '127.0.0.1'`)]).line(/ready/);
  return { port, path };
}

/** A forwarder of that name, which has the port on the host. */
async function forwardAs(t: Test, name: string, port: number, path: string): Promise<void> {
  const [program = '', ...args] = relay(`${port}, '127.0.0.1'`, `'${path}'`, name);
  await Program.start(t, program, args).line(/ready/);
}

/** A command that joins each client of one address to another address. */
const relay = (from: string, to: string, name = 'relay'): string[] => [
  process.execPath,
  '-e',
  `process.title = '${name}';
  const net = require('net');
  net.createServer((client) => {
    const server = net.connect(${to});
    for (const [one, other] of [[client, server], [server, client]])
      one.on('error', () => other.destroy()).pipe(other);
  }).listen(${from}, () => console.log('ready'))`,
];

/** A forward that works, and another program that has its port on another address of this machine. */
async function withNeighbour(t: Test, bench: Bench, ip: string): Promise<string> {
  const port = bench.takePort();
  await inVm(t, bench, serve('', port, '127.0.0.1'));
  const of = await forward(t, bench, String(port));
  await listenHere(t, Number(of), ip);
  return of;
}

/** Asks again until it is so: engines tell no events of these. */
async function until(isSo: () => Promise<unknown>): Promise<void> {
  while (!(await isSo()));
}

/** Which programs show the rules of an engine, by its firewall: nftables has tables of its own. */
const RULES_SHOWN_BY = { iptables: /^iptables-(nft|legacy)$/, nftables: /^nft$/ } as const;

/** Takes away the engine's rules that lead published ports to containers. */
async function clearDnat(vm: DockerVm, { firewall }: DockerEngine): Promise<void> {
  if (firewall === 'nftables')
    await vm.inside('nft', 'flush', 'chain', 'ip', 'docker-bridges', 'nat-prerouting-and-output');
  else await vm.inside('iptables', '-t', 'nat', '-F', 'DOCKER');
}

/** What people are shown of all forwards. */
async function listOf(pair: Pair): Promise<string> {
  return (await pair.run('list')).lines.join('\n');
}

async function ask(pair: Pair, of: string): Promise<DoctorReport> {
  const { lines } = await pair.run('doctor', of, '--json');
  return JSON.parse(lines.filter((line) => !line.startsWith('portferry:')).join('\n')) as DoctorReport;
}

await withEachEngine(t, 'doctor says why a port does not answer', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const reserved = await freePorts(RESERVED);
  let next = reserved + 20;
  const vm = await DockerVm.start(t, { engine, dynamicPorts: [reserved, reserved + 19] });
  if (!vm) return;
  const bench: Bench = { vm, on: await PublishingPair.start(t, vm, curl), takePort: () => next++ };
  const shown = await FailureTail.start(t, bench.on.pair, bench.takePort());
  for (const { name, make, problem, advice, hop, list, tail } of SET_UPS)
    await t.test(name, async (t) => {
      const of = await make(t, bench);
      const { ok, complaint, hops } = await ask(bench.on.pair, of);
      t.equal(ok, problem === undefined, complaint?.problem ?? 'no complaint');
      if (problem) t.match(complaint, { problem, ...(advice && { advice }), ...(hop && { hop }) });
      else
        t.same(
          hops.filter((each) => each.ok === false),
          [],
        );
      t.match(await listOf(bench.on.pair), list);
      const failed = await shown.next();
      if (typeof tail === 'string') t.same(failed, [], tail);
      else t.match(failed, [tail]);
      t.ok(failed.length <= 1, 'doctor has tried one connection');
    });
});

await withEachEngine(t, 'doctor says which half does not work', async (t, engine) => {
  const curl = requireProgram(t, 'curl');
  if (curl === undefined) return;
  const reserved = await freePorts(RESERVED);
  // Without docker-proxy, DNAT is the only way to what is published.
  const vm = await DockerVm.start(t, {
    engine,
    dynamicPorts: [reserved, reserved + 19],
    daemonArgs: ['--userland-proxy=false'],
  });
  if (!vm) return;
  const port = reserved + 20;
  const on = await PublishingPair.start(t, vm, curl);
  t.teardown(() => vm.docker('rm', '-f', 'web'));
  await vm.start(['--name', 'web', '-p', `0.0.0.0:${port}:80`], ...httpd('80'));
  await on.listens(`tcp 0.0.0.0:${port}`);
  await on.pair.run('expose', `127.0.0.1:${port + 1}:203.0.113.9:80`);
  const of = String(port);
  const shown = await FailureTail.start(t, on.pair, port + 4);
  const complaintOf = async (of: string): Promise<unknown> => (await ask(on.pair, of)).complaint;

  await t.test('the rule of DNAT is missing', async (t) => {
    await vm.inside('ip', 'addr', 'add', '203.0.113.1/32', 'dev', 'lo');
    await on.pair.run('expose', `127.0.0.1:${port + 2}:203.0.113.1:${port}`);
    t.equal(await complaintOf(String(port + 2)), undefined);
    const { guest } = (await ask(on.pair, String(port + 2))).path;
    const rules = 'found' in guest && 'found' in guest.found.dnat ? guest.found.dnat.found : [];
    t.match(rules, [{ by: RULES_SHOWN_BY[engine.firewall], to: '172.17.0.2:80' }]);
    t.ok(Number(rules[0]?.packets) > 0, 'the connection that was tried before');
    await clearDnat(vm, engine);
    t.match(await complaintOf(String(port + 2)), {
      hop: 'DNAT',
      problem: /^the engine's rule that leads tcp 203\.0\.113\.1:\d+ to container web \(\w+\) is missing$/,
      advice: /restart dockerd/,
    });
    t.match(await listOf(on.pair), /^tcp 127\.0\.0\.1:\d+ +203\.0\.113\.1:\d+ +1 +3 /m, 'it hangs');
    t.equal(await complaintOf(of), undefined, 'the container itself is reached without it');
    t.same(await shown.next(), [], 'what hangs has not ended');
  });

  await t.test('the engine stands still', async (t) => {
    vm.signalDaemon('SIGSTOP');
    t.teardown(() => vm.signalDaemon('SIGCONT'));
    const { ok, hops } = await ask(on.pair, of);
    t.ok(ok);
    t.match(
      hops.find(({ name }) => name === 'container'),
      { seen: false, text: /has not answered within/ },
    );
    t.match(await listOf(on.pair), new RegExp(`^tcp 0\\.0\\.0\\.0:${port} .* listening `, 'm'));
    t.same(await shown.next(), []);
  });

  await t.test('the guest stands still', async (t) => {
    on.agent.child.kill('SIGSTOP');
    t.teardown(() => on.agent.child.kill('SIGCONT'));
    t.match(await complaintOf(of), { hop: /^(guest|channel)$/, problem: /does not answer|no channel/ });
    t.match(await listOf(on.pair), /: failed \S+( times)? \([XCg]\w( \w+)?\), the last time /);
    t.match(await shown.next('whenever'), [/^XD /], 'what hung before, for want of the rule of DNAT');
  });

  await t.test('a rule of the guest denies it', async (t) => {
    await on.agent.stop('SIGTERM');
    await on.startAgent('--allow-dial', '127.0.0.1');
    await on.pair.run('expose', `127.0.0.1:${port + 3}:172.17.0.2:80`);
    t.match(await complaintOf(String(port + 3)), {
      problem: /the guest does not allow tcp 172\.17\.0\.2:80/,
      advice: /--allow-dial 'tcp 172\.17\.0\.2:80'/,
    });
    t.match(
      await listOf(on.pair),
      /: failed once \(PC EACCES\), the last time .*: the guest does not allow tcp /,
    );
    t.match(await shown.next(), [/^PC EACCES: the guest does not allow tcp 172\.17\.0\.2:80: /]);
  });

  await t.test('a rule of the guest keeps it from being published', async (t) => {
    await on.agent.stop('SIGTERM');
    const rules = `${vm.folder}/rules.json`;
    writeFileSync(rules, JSON.stringify([{ container: 'web', deny: true }]));
    await on.startAgent('--publish-rules', rules);
    await on.lacks(`tcp 0.0.0.0:${port}`);
    t.match(await complaintOf(of), {
      hop: 'forward',
      problem: /^container web \(\w+\) publishes \d+ in the VM, and nothing on the host forwards it$/,
      advice: /a rule or a label may deny it/,
    });
    t.notMatch(await listOf(on.pair), new RegExp(`^tcp 0\\.0\\.0\\.0:${port} `, 'm'));
    t.same(await shown.next(), []);
  });

  await t.test('there is no guest', async (t) => {
    await on.agent.stop('SIGTERM');
    t.match(await complaintOf(String(port + 1)), {
      hop: 'channel',
      problem: /^there has been no channel to the guest on unix:\S+ since \S+: /,
      advice: /start portferry-guest/,
    });
    t.match((await on.pair.run('status')).lines.join('\n'), /^channel +waiting since .*\n.*last error +\S/ms);
    t.same(await shown.next(), []);
    const { code, lines } = await on.pair.run('doctor');
    t.equal(code, 1);
    t.match(
      lines.join('\n'),
      /^✗ {2}channel .*\nthere has been no channel to the guest on .*\nWhat to do: start/ms,
    );
  });
});

t.setTimeout(900 * SECOND);
