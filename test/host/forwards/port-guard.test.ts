import t, { type Test } from 'tap';
import { Claim } from '../../../host/forwards/claim.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { PortGuard } from '../../../host/listen/port-guard.js';
import type { WantedAddress } from '../../../host/listen/port-owner.js';
import { reportForward } from '../../../host/records/reports.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { freePort } from '../../fixtures/free-ports.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';
import { Program } from '../../fixtures/programs.js';

const GUEST = { origin: 'published', publisher: 'docker' } as const;

/** A host on a system that shares ports, and the programs there. */
class SharingHost {
  readonly searches: (readonly WantedAddress[])[] = [];
  /** Who has a port, at the search of that number (from 1). */
  owner: (port: number, search: number) => string | undefined = () => undefined;
  readonly table: ForwardTable;
  readonly log = new LogRecorder();

  constructor(t: Test, wildcardOnlyBelow = 0) {
    const guard = new PortGuard(async (addresses, sources) => {
      t.equal(sources?.except, process.pid, 'sockets of our own do not count');
      this.searches.push(addresses);
      return addresses.map(({ port }) => this.owner(port, this.searches.length));
    }, 1);
    this.table = new ForwardTable({
      onClient: (socket) => socket.reset(),
      logger: this.log.logger,
      bindRules: { wildcardOnlyBelow, sharesPorts: true },
      guard,
      retryMs: 60_000,
    });
    t.teardown(() => this.table.close());
  }

  expose(...specs: string[]) {
    return this.table.expose(specs.flatMap(parseSpec));
  }

  /** As a guest asks for it. */
  async claim(...specs: string[]): Promise<Claim[]> {
    const claims = specs.flatMap(parseSpec).map((rule) => new Claim(rule, GUEST));
    await this.table.claim(claims, []);
    return claims;
  }
}

t.test('many forwards take two looks: before they are bound, and after it', async (t) => {
  const host = new SharingHost(t);
  const ports = [await freePort(), await freePort(), await freePort()];
  await host.expose(...ports.map((port) => `127.0.0.1:${port}:80`));
  t.same(
    host.searches.map((addresses) => addresses.map(({ port }) => port)),
    [ports, ports],
  );
  await host.expose(`127.0.0.1:${await freePort()}:53/udp`);
  t.equal(host.searches.length, 2, 'UDP ports are not shared');
});

t.test("another program's port is not taken, for the user or a guest", async (t) => {
  const host = new SharingHost(t);
  const port = await freePort();
  const held = `127.0.0.1:${port}:80`;
  const message = `cannot listen on 127.0.0.1:${port}: EADDRINUSE by nginx (pid 7); free it, or choose another host port`;
  host.owner = (asked) => (asked === port ? 'nginx (pid 7)' : undefined);
  await t.rejects(host.expose(held), { message, code: 'EADDRINUSE' });
  t.equal(host.searches.length, 1, 'it was not bound at all');
  const [claim, other] = await host.claim(held, `127.0.0.1:${await freePort()}:80`);
  t.match(claim, { state: 'failed', reason: { message, code: 'EADDRINUSE' } });
  t.equal(other?.state, 'listening');
});

t.test('who looks by default finds the programs of this machine', async (t) => {
  const listen = `require('net').createServer().listen(0, '127.0.0.1', function () { console.log('on', this.address().port) })`;
  const program = Program.start(t, process.execPath, ['-e', listen]);
  const port = Number((await program.line(/^on (\d+)$/))[1]);
  const table = new ForwardTable({
    onClient: (socket) => socket.reset(),
    logger: new LogRecorder().logger,
    bindRules: { wildcardOnlyBelow: 0, sharesPorts: true },
  });
  t.teardown(() => table.close());
  await t.rejects(table.expose(parseSpec(`127.0.0.1:${port}:80`)), {
    // How Node calls its own process depends on its version.
    message: new RegExp(
      `^cannot listen on 127.0.0.1:${port}: EADDRINUSE by \\S+ \\(pid ${program.child.pid}\\); free it`,
    ),
  });
});

t.test("another program's TCP port is not in the way of a UDP forward of the same number", async (t) => {
  const host = new SharingHost(t);
  const port = await freePort();
  host.owner = () => 'nginx (pid 7)';
  const [tcp, udp] = await host.claim(`127.0.0.1:${port}:53`, `127.0.0.1:${port}:53/udp`);
  t.match([tcp?.state, udp?.state], ['failed', 'listening']);
  t.same(
    host.searches.map((addresses) => addresses.map(({ proto }) => proto)),
    [['tcp']],
    'nobody was looked for on the UDP port',
  );
});

t.test('who comes between look and bind keeps the port', async (t) => {
  const host = new SharingHost(t);
  const port = await freePort();
  host.owner = (_port, search) => (search % 2 === 0 ? 'nginx (pid 7)' : undefined);
  await t.rejects(host.expose(`127.0.0.1:${port}:80`), { message: /EADDRINUSE by nginx/ });
  t.equal(host.table.size, 0);
  const [first, second] = await host.claim(`127.0.0.1:${port}:80`, `127.0.0.1:${port}:80`);
  t.match([first?.state, second?.state], ['failed', 'failed']);
  t.equal(host.table.size, 0);
  host.owner = () => undefined;
  await host.expose(`127.0.0.1:${port}:80`);
  t.equal(host.table.size, 1, 'what was bound for the look is free again');
});

t.test('a port that the OS chooses is one that nobody else has', async (t) => {
  const host = new SharingHost(t);
  host.owner = (_port, search) => (search < 3 ? 'nginx (pid 7)' : undefined);
  const [forward] = await host.expose('127.0.0.1:0:80');
  t.equal(host.searches.length, 4);
  t.equal(forward?.rule.proto === 'tcp' && forward.rule.hostPort, host.searches[2]?.[0]?.port);
  host.owner = () => 'everybody';
  await t.rejects(host.expose('127.0.0.1:0:80'), { message: /EADDRINUSE by everybody/ });
});

t.test("the system would let one forward be bound beside another one's wildcard", async (t) => {
  const host = new SharingHost(t);
  const port = await freePort();
  await host.expose(`127.0.0.1:${port}:80`);
  await t.rejects(host.expose(`0.0.0.0:${port}:81`), {
    message: `cannot listen on 0.0.0.0:${port}: EADDRINUSE by the forward 127.0.0.1:${port} → tcp 127.0.0.1:80; free it, or choose another host port`,
  });
});

t.test('a low port: said in list and log, and not for UDP', async (t) => {
  const host = new SharingHost(t, 65_536);
  const port = await freePort();
  const [forward] = await host.expose(`127.0.0.1:${port}:80`);
  if (!forward) throw new Error('no forward');
  t.match(reportForward(forward), {
    id: `tcp 127.0.0.1:${port}`,
    addresses: [`0.0.0.0:${port}`],
    limitation: /listen on every address only: so it does, and resets/,
  });
  t.match(host.log.lines, [{ msg: `listening on 0.0.0.0:${port}, for clients of 127.0.0.1:${port} alone` }]);
  await t.rejects(host.expose(`127.0.0.2:${port}:80`), { message: /EADDRINUSE by the forward 127.0.0.1/ });
  await t.rejects(host.expose(`127.0.0.1:${port}:53/udp`), {
    message: `cannot listen on udp 127.0.0.1:${port}: below port 65536 this system lets a user listen on every address only, and datagrams for others would come in, too; choose a higher port, or 0.0.0.0:${port}`,
    code: 'EACCES',
  });
  await host.expose(`0.0.0.0:${port}:53/udp`);
});
