#!/usr/bin/env node
// Makes docs/dashboard.png: the dashboard with real traffic through it. For developers; needs a build (npm run build)
// and chromium on PATH. `-- --out FILE` writes elsewhere.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { ControlClient } from '../build/host/control/client.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const { out = join(ROOT, 'docs/dashboard.png') } = parseArgs({ options: { out: { type: 'string' } } }).values;

/** What is shown of the last minute. */
const TRAFFIC_SECONDS = 45;
const SIZE = { width: 1280, height: 960 };

const folder = mkdtempSync(join(tmpdir(), 'pf-'));
const children = [];
const servers = [];
try {
  await shoot();
} finally {
  for (const child of children) child.kill('SIGKILL');
  for (const server of servers) server.close().closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
}

async function shoot() {
  const pages = await serve((request, response) => response.end(Buffer.alloc(sizeOf(request.url))));
  const api = await serve((_request, response) => response.end('{"ok":true}'));
  const closed = await serve(() => {});
  servers.pop().close();
  const control = join(folder, 'control.sock');
  const channel = `unix:${join(folder, 'channel.sock')}`;
  run('host', 'host', '--listen', channel, '--control', control, '--dashboard=127.0.0.1:0');
  run('guest', '--connect', channel, '--docker=off');
  const client = new ControlClient(control);
  const status = await until(
    () => client.status(),
    ({ channel }) => channel.state === 'connected',
  );
  if (!status) throw new Error('host and guest did not come together');
  const forwards = await client.expose([`0:${pages}`, `0:${api}`, `0:${closed}`]);
  const [pagesPort, apiPort, closedPort] = forwards.map((forward) => forward.out_port);
  const { address } = await client.dashboard();
  const browser = await chromium.launch({
    executablePath: await whereIs('chromium'),
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
  const page = await browser.newPage({ viewport: SIZE, colorScheme: 'light' });
  await page.goto(address);
  await page.getByText('live', { exact: true }).waitFor();
  for (let second = 0; second < TRAFFIC_SECONDS; second++) {
    const wave = 1 + Math.sin(second / 5);
    await Promise.all([
      ask(pagesPort, `/${Math.round(400_000 * wave)}`),
      ask(apiPort, '/'),
      second % 15 === 10 ? ask(closedPort, '/') : undefined,
      delay(1000),
    ]);
  }
  await page.getByRole('button', { name: `:${closedPort}` }).click();
  await page.locator('#detail').getByText('What to do:').waitFor();
  for (const path of ['/', '/']) await ask(apiPort, path);
  await page.screenshot({ path: out });
  await browser.close();
  console.log(`${out} is written`);
}

/** The bytes that a path asks for. */
function sizeOf(path) {
  return Number(path.slice(1)) || 0;
}

async function serve(onRequest) {
  const server = http.createServer(onRequest);
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address().port;
}

function run(program, ...args) {
  const child = spawn(process.execPath, [join(ROOT, `dist/${program}/main.js`), ...args], {
    stdio: 'ignore',
    env: { ...process.env, PORTFERRY_RUNTIME_DIR: folder, PORTFERRY_DOCKER: 'off' },
  });
  children.push(child);
}

/** Asks until the answer is the wanted one; undefined when that takes too long. */
async function until(ask, isWanted) {
  for (let tries = 0; tries < 200; tries++) {
    const answer = await ask().catch(() => undefined);
    if (answer && isWanted(answer)) return answer;
    await delay(50);
  }
  return undefined;
}

/** One request, on a connection of its own; that it may fail is what is shown. */
function ask(port, path) {
  return new Promise((resolve) => {
    http
      .get({ host: '127.0.0.1', port, path, agent: false }, (response) =>
        response.resume().on('close', resolve),
      )
      .on('error', resolve);
  });
}

async function whereIs(name) {
  const child = spawn('which', [name], { stdio: ['ignore', 'pipe', 'inherit'] });
  let path = '';
  for await (const chunk of child.stdout) path += chunk;
  if (path === '') throw new Error(`there is no ${name} on PATH`);
  return path.trim();
}
