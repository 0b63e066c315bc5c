import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { WITHOUT_IPV6 } from '../fixtures/ipv6.js';
import { Program, requireProgram, temporaryFolder } from '../fixtures/programs.js';

const CLIENTS = 100;
const HOST_IPS = WITHOUT_IPV6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'];

/** Servers that understand the header, and answer with what it says. */
const SERVERS = {
  nginx: {
    listening: /start worker process \d+/,
    args: (folder: string, config: string) => ['-c', config, '-p', folder, '-e', 'stderr'],
    configure: (folder: string, port: number) => `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid nginx.pid;
worker_processes 1;
error_log stderr notice;
events { worker_connections 1024; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp-${name};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port} proxy_protocol backlog=1024;
    return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
  }
}
`,
  },
  haproxy: {
    listening: /Loading success/,
    // As master and worker it says when it listens.
    args: (_folder: string, config: string) => ['-W', '-db', '-f', config],
    configure: (_folder: string, port: number) => `
defaults
  mode http
  timeout client 30s
frontend clients
  bind 127.0.0.1:${port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"
`,
  },
} as const;

for (const name of ['nginx', 'haproxy'] as const)
  t.test(`${name} learns who the client is`, async (t) => {
    const port = await startServer(t, name);
    if (port === undefined) return;
    for (const version of [1, 2]) {
      const pair = new Pair(t);
      pair.startHost(...forwardsTo(port, version));
      pair.startGuest();
      await pair.up();
      for (const ip of HOST_IPS) {
        const answers = await ask(await hostPort(pair, ip), ip, CLIENTS);
        t.same(answers.wrong, [], `version ${version}, from ${ip}`);
        t.equal(answers.right, CLIENTS);
      }
    }
  });

t.test('through the guest of vpnkit, which knows nothing of it', async (t) => {
  const forwarder = requireProgram(t, 'vpnkit-forwarder', true);
  if (forwarder === undefined) return;
  const port = await startServer(t, 'haproxy');
  if (port === undefined) return;
  for (const version of [1, 2]) {
    const pair = new Pair(t);
    pair.startHost(...forwardsTo(port, version));
    const sockets = ['-data-connect', join(pair.folder, 'channel.sock')];
    Program.start(t, forwarder, [...sockets, '-control-listen', join(pair.folder, 'vpnkit.sock')]);
    await pair.up();
    for (const ip of HOST_IPS) {
      const answers = await ask(await hostPort(pair, ip), ip, CLIENTS);
      t.same(answers.wrong, [], `version ${version}, from ${ip}`);
      t.equal(answers.right, CLIENTS);
    }
  }
});

/** @returns its port, or undefined where it is missing */
async function startServer(t: Test, name: keyof typeof SERVERS): Promise<number | undefined> {
  const program = requireProgram(t, name);
  if (program === undefined) return undefined;
  const { args, configure, listening } = SERVERS[name];
  const folder = temporaryFolder(t);
  const port = await freePort();
  const config = join(folder, 'server.conf');
  writeFileSync(config, configure(folder, port));
  await Program.start(t, program, args(folder, config), { endSignal: 'SIGTERM' }).line(listening);
  return port;
}

function forwardsTo(port: number, version: number): string[] {
  return HOST_IPS.flatMap((ip) => {
    const host = ip.includes(':') ? `[${ip}]` : ip;
    return ['--forward', `${host}:0:127.0.0.1:${port}/tcp/proxy=v${version}`];
  });
}

/** The port of the forward that listens on this address. */
async function hostPort(pair: Pair, ip: string): Promise<number> {
  const host = ip.includes(':') ? `\\[${ip}\\]` : ip.replaceAll('.', '\\.');
  const [, port] = await pair.host.line(new RegExp(`^tcp ${host}:(\\d+) `));
  return Number(port);
}

/** How many of so many clients at once the server knew, and its answers to the others. */
async function ask(port: number, ip: string, clients: number): Promise<{ right: number; wrong: string[] }> {
  const answers = await Promise.all(
    Array.from({ length: clients }, async () => {
      const request = http.get({ host: ip, port, agent: false });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      const { localPort } = response.socket as net.Socket;
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      return { text, expected: `${ip} ${localPort} ${ip} ${port}` };
    }),
  );
  const wrong = answers.filter(({ text, expected }) => text !== expected);
  return { right: clients - wrong.length, wrong: wrong.map((answer) => JSON.stringify(answer)) };
}
