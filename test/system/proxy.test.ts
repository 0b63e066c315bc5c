import { once } from 'node:events';
import t from 'tap';
import { Program, run } from '../fixtures/programs.js';
import { type Answer, FakeAgent, flags, requireProxy, UserlandProxy } from './fixtures/proxy.js';

/** Nothing of this is dialled or bound in these tests. */
const FORWARD = [...flags('tcp', '192.0.2.1:8080', '172.17.0.2:80'), '-local-bind', 'never'];

const path = requireProxy(t);
if (path !== undefined) {
  t.test('dockerd hears that the host listens, and the port is given back at the end', async (t) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const agent = await FakeAgent.start(t);
      const proxy = new UserlandProxy(t, agent, FORWARD);
      t.equal(await proxy.status, '0\n');
      t.equal(agent.leases, 1);
      t.same(agent.asked, [
        { proto: 'tcp', out_ip: '192.0.2.1', out_port: 8080, in_ip: '172.17.0.2', in_port: 80 },
      ]);
      t.same(agent.strange, []);
      t.equal(await proxy.program.stop(signal), 0);
      await agent.until(() => agent.leases === 0);
      t.same(proxy.program.lines, [], 'and nothing is worth a word');
    }
  });

  t.test('flags are understood as Go programs do', async (t) => {
    const agent = await FakeAgent.start(t);
    const udp = { proto: 'udp', out_ip: '::', out_port: 53, in_ip: 'fd00::2', in_port: 5353 };
    const words = '--proto=udp -host-ip :: --host-port 53 -container-ip=fd00::2 -container-port=5353';
    for (const no of ['-no-local-ip', '--no-local-ip=true', '-local-bind=never']) {
      const proxy = new UserlandProxy(t, agent, [...words.split(' '), no]);
      t.equal(await proxy.status, '0\n');
      t.same(agent.asked.at(-1), udp);
    }
    const plain = new UserlandProxy(t, agent, [
      '-host-port=1',
      '-container-ip=10.0.0.1',
      '-container-port=2',
      '-no-local-ip',
    ]);
    t.equal(await plain.status, '0\n');
    t.same(agent.asked.at(-1), {
      proto: 'tcp',
      out_ip: '0.0.0.0',
      out_port: 1,
      in_ip: '10.0.0.1',
      in_port: 2,
    });
  });

  t.test('dockerd hears why the host does not listen', async (t) => {
    const taken = 'cannot listen on 192.0.2.1:8080: address already in use (EADDRINUSE) by nginx (pid 4711)';
    const long = `é${'x'.repeat(10_000)}`;
    const answers: [Answer, RegExp][] = [
      [
        { status: 400, reason: taken },
        /^1\ncannot listen on 192\.0\.2\.1:8080: address .* by nginx \(pid 4711\)$/,
      ],
      [{ status: 403, reason: taken, chunked: true }, /^1\ncannot listen on .* \(pid 4711\)$/],
      [{ status: 503, reason: ' two\r\n\tlines\n' }, /^1\ntwo lines$/],
      [{ status: 400, reason: long }, /^1\néx{1900,}$/],
      [{ status: 400, reason: long, chunked: true }, /^1\néx{1900,}$/],
      [
        { status: 500, reason: '' },
        /^1\nthe portferry agent at \S+ refuses tcp 192\.0\.2\.1:8080 with status 500/,
      ],
      [{ raw: 'HTTP/1.1 404 Not Found\r\n\r\nno such thing' }, /^1\nno such thing$/],
      [{ raw: 'HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\ncut' }, /^1\ncut$/],
    ];
    for (const [answer, status] of answers) {
      const agent = await FakeAgent.start(t);
      agent.answer = () => answer;
      const proxy = new UserlandProxy(t, agent, FORWARD);
      t.match(await proxy.status, status);
      t.equal(await proxy.program.exit(), 1);
      t.same(proxy.program.lines, []);
      t.equal(agent.asked.length, 1, 'asked once');
    }
  });

  t.test('without a status pipe the reason goes to stderr', async (t) => {
    const agent = await FakeAgent.start(t);
    agent.answer = () => ({ status: 400, reason: 'no such luck' });
    const { outcome, output } = await run(t, path, '-control', agent.path, ...FORWARD);
    t.same({ outcome, output }, { outcome: 1, output: 'portferry-proxy: no such luck' });
  });

  t.test('an agent that is being started is waited for', async (t) => {
    const agent = FakeAgent.absent(t);
    const proxy = new UserlandProxy(t, agent, FORWARD);
    await once(proxy.program.child, 'spawn');
    agent.answer = () => (agent.asked.length < 3 ? 'hang up' : 'yes');
    await agent.listen();
    t.equal(await proxy.status, '0\n');
    t.equal(agent.asked.length, 3);
  });

  t.test('an agent that never answers is given up in time', async (t) => {
    const silent = await FakeAgent.start(t);
    silent.answer = () => 'nothing';
    const rude = await FakeAgent.start(t);
    rude.answer = () => 'hang up';
    const other = await FakeAgent.start(t);
    other.answer = () => ({ raw: `${'SSH-2.0 '.repeat(1000)}\r\n` });
    const absent = FakeAgent.absent(t);
    const killed = await FakeAgent.start(t);
    killed.kill({ leaveSocket: true });
    const cases: [FakeAgent, RegExp][] = [
      [silent, /has not answered for tcp 192\.0\.2\.1:8080 within 15 s; see its log/],
      [
        rude,
        /has answered at \S+ for 5 s: it has closed the connection without an answer; start portferry-guest/,
      ],
      [other, /: what it answers is not HTTP; start portferry-guest/],
      [
        absent,
        /^1\ncannot have the host listen on tcp .*: no portferry agent has answered at \S+agent\.sock for/,
      ],
      [killed, /: Connection refused; start portferry-guest/],
      [absent, /: No such file or directory; start portferry-guest with --proxy-socket \S+agent\.sock/],
    ];
    const statuses = await Promise.all(
      cases.map(async ([agent, status]) => {
        const proxy = new UserlandProxy(t, agent, FORWARD);
        t.equal(await proxy.program.exit(), 1);
        return { text: await proxy.status, status };
      }),
    );
    for (const { text, status } of statuses) t.match(text, status);
    t.ok(rude.asked.length > 10, 'it was asked again and again');
  });

  t.test('told to stop while it waits for the answer, it stops', async (t) => {
    const agent = await FakeAgent.start(t);
    agent.answer = () => 'nothing';
    const proxy = new UserlandProxy(t, agent, FORWARD);
    await agent.until(() => agent.asked.length === 1);
    t.equal(await proxy.program.stop('SIGINT'), 0);
    t.equal(await proxy.status, '');
  });

  t.test('an agent that restarts is asked again, with one line for each change', async (t) => {
    const agent = await FakeAgent.start(t);
    const proxy = new UserlandProxy(t, agent, FORWARD);
    t.equal(await proxy.status, '0\n');
    agent.kill();
    await proxy.program.line(
      /^portferry-proxy: the host does not listen on tcp 192\.0\.2\.1:8080 any more: agent at/,
    );
    agent.asked.length = 0;
    agent.answer = () => ({ status: 503, reason: 'no channel' });
    await agent.listen();
    await agent.until(() => agent.asked.length === 3);
    agent.answer = () => 'yes';
    await agent.until(() => agent.leases === 1);
    await proxy.program.line(/^portferry-proxy: the host listens on tcp 192\.0\.2\.1:8080 again$/);
    // While it listens again, or before that socket is there, the reason may change once more.
    const lines = proxy.program.lines.filter((line) => !/: agent at/.test(line));
    t.same(lines, [
      'portferry-proxy: the host does not listen on tcp 192.0.2.1:8080 any more: no channel; asking it until it does',
      'portferry-proxy: the host listens on tcp 192.0.2.1:8080 again',
    ]);
    t.equal(await proxy.program.stop('SIGINT'), 0);
    await agent.until(() => agent.leases === 0);
  });

  t.test('wrong usage is explained', async (t) => {
    const cases: [string, number, RegExp][] = [
      ['-nonsense', 2, /there is no flag -nonsense; portferry-proxy -h lists them/],
      ['--=x', 2, /there is no flag -/],
      ['word', 2, /a flag missing before "word"/],
      ['-', 2, /a flag missing before "-"/],
      ['-proto', 2, /-proto needs a value/],
      ['-proto icmp', 2, /-proto is tcp or udp, not "icmp"/],
      ['-proto sctp', 1, /does not support sctp/],
      ['-host-ip localhost', 2, /-host-ip is a literal IP address, not "localhost"/],
      ['-host-port 0', 2, /-host-port is a port from 1 to 65535, not "0"/],
      ['-host-port 65536', 2, /not "65536"/],
      ['-host-port -1', 2, /not "-1"/],
      ['-container-port 8x', 2, /not "8x"/],
      ['-local-bind maybe', 2, /-local-bind is best-effort, always or never, not "maybe"/],
      ['-use-listen-fd=maybe', 2, /-use-listen-fd is true or false, not "maybe"/],
      ['-use-listen-fd=false -no-local-ip=0', 2, /-host-port, .* is missing/],
      ['-host-port 1 -container-port 1', 2, /-container-ip, .* is missing/],
      ['-host-port 1 -container-ip ::1', 2, /-container-port, .* is missing/],
      [
        `${FORWARD.join(' ')} -control /${'x'.repeat(200)}`,
        2,
        /the agent's socket may have 107 bytes, not 201/,
      ],
      [`${FORWARD.join(' ')} -use-listen-fd`, 1, /descriptor 4 is no socket/],
    ];
    for (const [words, code, message] of cases) {
      const { outcome, output } = await run(t, path, ...words.split(' '));
      t.equal(outcome, code, words);
      t.match(output, message);
      t.equal(output.split('\n').length, 1);
    }
  });

  t.test('version and help', async (t) => {
    for (const flag of ['-v', '--version']) {
      const { outcome, output } = await run(t, path, flag);
      t.equal(outcome, 0);
      t.match(output, /^portferry-proxy \d+\.\d+\.\d+$/);
    }
    const { outcome, output } = await run(t, path, '-h');
    t.equal(outcome, 0);
    for (const part of ['SYNOPSIS', 'OPTIONS', '-use-listen-fd', 'userland-proxy-path', 'EXAMPLES'])
      t.match(output, part);
  });

  t.test('the environment names the agent', async (t) => {
    const agent = await FakeAgent.start(t);
    const proxy = Program.start(t, path, FORWARD, { env: { PORTFERRY_PROXY_SOCKET: agent.path } });
    await agent.until(() => agent.leases === 1);
    t.equal(await proxy.stop('SIGTERM'), 0);
  });
}
