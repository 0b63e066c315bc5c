import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import type { Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { chooseFreePorts } from '../fixtures/free-ports.js';
import { requireProgram, run, startServer } from '../fixtures/programs.js';
import { axeFindings, openPage, startBrowser, violationsOf } from './fixtures/browser.js';
import { CrowdedHost } from './fixtures/crowded-host.js';

/** A host with its dashboard on, its guest, and two forwards: to a server, and to nobody. */
class Watched {
  readonly t: Test;
  readonly pair: Pair;
  readonly port: number;
  good = 0;
  bad = 0;
  readonly args: string[];

  private constructor(t: Test, pair: Pair, port: number, specs: string[]) {
    this.t = t;
    this.pair = pair;
    this.port = port;
    this.args = [`--dashboard=127.0.0.1:${port}`, ...specs.flatMap((spec) => ['--forward', spec])];
  }

  static async start(t: Test): Promise<Watched> {
    const server = await startServer(t, (socket) => {
      socket.once('data', () => void socket.end('HTTP/1.0 200 OK\r\n\r\nserved\n'));
    });
    const [port = 0, good = 0, bad = 0, nobody = 0] = await chooseFreePorts(4);
    const specs = [`127.0.0.1:${good}:${server}`, `127.0.0.1:${bad}:${nobody}`];
    const watched = new Watched(t, new Pair(t), port, specs);
    watched.good = good;
    watched.bad = bad;
    watched.pair.startHost(...watched.args);
    watched.pair.startGuest('--docker=off');
    await watched.pair.host.line(/^dashboard http:/);
    await watched.pair.up();
    return watched;
  }

  /** As the command prints it. */
  async address(): Promise<string> {
    const { code, lines } = await this.pair.run('dashboard', '--no-open');
    this.t.equal(code, 0);
    this.t.match(lines, [new RegExp(`^http://127\\.0\\.0\\.1:${this.port}/#token=[\\w-]{43}$`)]);
    return lines[0] ?? '';
  }

  async curl(port: number): Promise<number | NodeJS.Signals> {
    return (await run(this.t, 'curl', '-sS', '-m', '60', `http://127.0.0.1:${port}/`)).outcome;
  }
}

/** The line of a table in which all these texts stand. */
function line(page: Page, table: string, ...texts: string[]) {
  return texts.reduce((found, text) => found.filter({ hasText: text }), page.locator(`#${table}-rows tr`));
}

t.test('what happens is shown while it happens, with its cause', async (t) => {
  if (requireProgram(t, 'curl') === undefined) return;
  const browser = await startBrowser(t);
  if (!browser) return;
  const watched = await Watched.start(t);
  const page = await openPage(browser, await watched.address());
  await page.getByText('live', { exact: true }).waitFor();
  t.equal(page.url(), `http://127.0.0.1:${watched.port}/`, 'the token has left the address');
  await page.locator('#channel').getByText('connected').waitFor();
  await page.locator('#channel').getByText('round trip').waitFor();

  t.equal(await watched.curl(watched.good), 0);
  await line(page, 'connections', `127.0.0.1:${watched.good}`, '--', 'ended the connection').waitFor();
  await line(page, 'forwards', `127.0.0.1:${watched.good}`, 'listening').waitFor();
  t.not(await watched.curl(watched.bad), 0);
  await line(page, 'connections', `127.0.0.1:${watched.bad}`, 'SC', 'ECONNREFUSED').waitFor();
  await line(page, 'forwards', `127.0.0.1:${watched.bad}`, '1 refused').waitFor();
  await page.getByLabel('failures only').check();
  await line(page, 'connections', `127.0.0.1:${watched.good}`).waitFor({ state: 'detached' });
  t.equal(await line(page, 'connections', `127.0.0.1:${watched.bad}`).count(), 1);

  const { lines } = await watched.pair.run('expose', `127.0.0.1:0:${watched.good}`);
  const [, exposed = ''] = /^tcp (\S+)/.exec(lines[0] ?? '') ?? [];
  await line(page, 'forwards', exposed).waitFor();
  await watched.pair.run('unexpose', exposed);
  await line(page, 'forwards', exposed).waitFor({ state: 'detached' });

  // A tab has the token for itself: it can be loaded again, and another one lacks it.
  await page.reload();
  await page.getByText('live', { exact: true }).waitFor();
  t.same(await violationsOf(page), []);
  const other = await openPage(browser, `http://127.0.0.1:${watched.port}/`);
  await other.getByText('this address lacks its token').waitFor();
  const wrong = await openPage(browser, `http://127.0.0.1:${watched.port}/#token=${'x'.repeat(43)}`);
  await wrong.getByText('the host has another token').waitFor();
  t.equal(await wrong.locator('tbody tr').count(), 0);
});

t.test('by keys alone: a forward is found, and its way drawn and judged', async (t) => {
  const browser = await startBrowser(t);
  if (!browser) return;
  const watched = await Watched.start(t);
  const page = await openPage(browser, await watched.address());
  await line(page, 'forwards', `:${watched.bad}`).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type(String(watched.bad));
  await line(page, 'forwards', `:${watched.good}`).waitFor({ state: 'detached' });
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('Delete');
  await line(page, 'forwards', `:${watched.good}`).waitFor();
  // To the table, which scrolls, and to its first line.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  const button = page.getByRole('button', { name: `:${watched.bad}` });
  t.match(await page.locator(':focus').textContent(), `:${watched.bad}`);
  await page.keyboard.press('Enter');

  const detail = page.locator('#detail');
  await detail.getByText('What to do:').waitFor();
  t.match(await detail.locator('#verdict').textContent(), /^nothing .*\.What to do: .*\.$/);
  t.match(
    (await detail.locator('#hops li').allTextContents()).join('\n'),
    /^✓host in order: portferry [\s\S]*^✗guest wrong: /m,
  );
  t.equal(await button.getAttribute('aria-expanded'), 'true');
  // Doctor's own connection was the first: the next look knows of it.
  await page.getByRole('button', { name: 'Check again' }).press('Enter');
  await detail.locator('#failures').getByText('1 × SC ECONNREFUSED: the guest could not reach').waitFor();
  await button.focus();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await detail.getByText(`tcp ${watched.good} works, as far as can be seen.`).waitFor();
  t.equal(await detail.locator('#hops li', { hasText: '✗' }).count(), 0);
  // Which was a connection, and can be seen below.
  await line(page, 'connections', `:${watched.good}`).waitFor();
  await page.keyboard.press('Escape');
  await detail.waitFor({ state: 'hidden' });
  t.match(await page.locator(':focus').textContent(), `:${watched.good}`, 'back where it was');
  t.same(await violationsOf(page), []);
});

t.test('an open page goes on when the host has been restarted', async (t) => {
  if (requireProgram(t, 'curl') === undefined) return;
  const browser = await startBrowser(t);
  if (!browser) return;
  const watched = await Watched.start(t);
  const page = await openPage(browser, await watched.address());
  await page.getByText('live', { exact: true }).waitFor();
  const before = await page.locator('#host').textContent();
  await watched.pair.host.stop();
  await page.getByText('no answer from the host').waitFor();
  watched.pair.startHost(...watched.args);
  await page.getByText('live', { exact: true }).waitFor();
  await page.locator('#channel').getByText('● connected').waitFor();
  t.not(await page.locator('#host').textContent(), before, 'another process');
  t.equal(await watched.curl(watched.good), 0);
  await line(page, 'connections', `127.0.0.1:${watched.good}`, 'ended the connection').waitFor();
});

t.test('axe-core finds nothing, neither in the light nor in the dark', async (t) => {
  if (requireProgram(t, 'curl') === undefined) return;
  const browser = await startBrowser(t);
  if (!browser) return;
  const watched = await Watched.start(t);
  await watched.curl(watched.good);
  await watched.curl(watched.bad);
  const address = await watched.address();
  for (const colorScheme of ['light', 'dark'] as const)
    for (const width of [1400, 400]) {
      const page = await openPage(browser, address, { colorScheme, viewport: { width, height: 900 } });
      await line(page, 'connections', 'ECONNREFUSED').first().waitFor();
      t.same(await axeFindings(page), [], `${colorScheme}, ${width} wide`);
      await page.getByRole('button', { name: `:${watched.bad}` }).click();
      await page.locator('#detail').getByText('What to do:').waitFor();
      t.same(await axeFindings(page), [], `${colorScheme}, ${width} wide, a forward selected`);
      t.same(await violationsOf(page), []);
      await page.context().close();
    }
});

/** What a page from elsewhere may try, with a token that it must not have. */
const ATTACK = `async ([origin, token]) => {
  const outcome = (promise) => promise.then((value) => 'got ' + value, () => 'nothing');
  const header = { headers: { authorization: 'Bearer ' + token } };
  const load = (name, property) => new Promise((resolve, reject) => {
    const element = document.createElement(name);
    element[property] = origin + '/icon.svg';
    element.onload = () => resolve(name);
    element.onerror = reject;
    document.body.append(element);
  });
  const socket = new Promise((resolve, reject) => {
    const socket = new WebSocket(origin.replace('http', 'ws') + '/v1/events', ['portferry', 'token.' + token]);
    socket.onmessage = () => resolve('events');
    socket.onclose = reject;
  });
  return Promise.all([
    outcome(fetch(origin + '/v1/status', header).then((response) => response.text())),
    outcome(fetch(origin + '/').then((response) => response.text())),
    outcome(fetch(origin + '/', { mode: 'no-cors' }).then((response) => response.type)),
    outcome(load('img', 'src')),
    outcome(load('script', 'src')),
    outcome(socket),
  ]);
}`;

t.test('a page of another origin gets nothing, and a name that was led here neither', async (t) => {
  const browser = await startBrowser(t, '--host-resolver-rules=MAP rebound.example 127.0.0.1');
  if (!browser) return;
  const watched = await Watched.start(t);
  const token = (await watched.address()).replace(/.*=/, '');
  const origin = `http://127.0.0.1:${watched.port}`;
  // Such as what runs in a container behind a forward: the same machine, another port.
  const server = http.createServer(
    (_request, response) => void response.end('<!doctype html><title>x</title><body>'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const page = await openPage(browser, `http://127.0.0.1:${port}/`);
  const nothing = 'nothing';
  t.same(await page.evaluate(`(${ATTACK})(${JSON.stringify([origin, token])})`), [
    ...[nothing, nothing, nothing, nothing, nothing, nothing],
  ]);
  const rebound = await openPage(browser, `http://rebound.example:${watched.port}/`);
  t.match(await rebound.content(), /this is not the name of the dashboard/);
  server.closeAllConnections();
});

t.test('very many forwards and connections leave the page quick', async (t) => {
  const browser = await startBrowser(t);
  if (!browser) return;
  const host = await CrowdedHost.start(t, 5_000);
  const page = await openPage(browser, host.address);
  await page.getByText('… and 4900 more').waitFor();
  t.equal(await page.locator('#forwards-rows tr').count(), 100);
  await page.evaluate(WATCH_FRAMES);
  const connections = 20_000;
  for (let count = 0; count < connections; count++) {
    host.serveOne();
    // As the event loop of a busy host turns.
    if (count % 100 === 99) await new Promise(setImmediate);
  }
  await page.locator('#connections-more').getByText('older ones').waitFor();
  await line(page, 'connections', host.lastForward).first().waitFor();
  t.equal(await page.locator('#connections-rows tr').count(), 200);
  await page.getByLabel('Find').fill(':14999');
  await line(page, 'forwards', ':14999').waitFor();
  t.equal(await page.locator('#forwards-rows tr').count(), 1);
  t.comment(`the longest frame took ${await page.evaluate('longest')} ms`);
});

/** The longest time (ms) between two frames, from now on. */
const WATCH_FRAMES = `
  globalThis.longest = 0;
  let last = performance.now();
  const onFrame = (now) => {
    longest = Math.max(longest, Math.round(now - last));
    last = now;
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);`;
