// The forwarders, each as somebody would run it: what joins its halves, and how each half is started.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { findByVersion, programFile } from '../../build/host/bench/rivals/find.js';
import { openssh } from '../../build/host/bench/rivals/openssh.js';
import { VERSION } from '../../build/protocol/program/version.js';
import { ROOT } from '../bundle.mjs';
import { freeEndpoint } from './ports.mjs';
import { Half } from './programs.mjs';
import { Relay } from './relay.mjs';

/**
 * A forwarder: what it is called, how it is found and started. start() gets `folder`, `target` (where the
 * destination listens), and of the fault: `relay` (whether the channel is to be hurt), `endpoint` (where clients come),
 * `wrap` (what is put before each command), `options` (of spawn), `hostArgs` (portferry's alone).
 */
export const FORWARDERS = {
  direct: {
    setup: 'no forwarder: the fault itself',
    find: async () => ({ version: '' }),
    start: async ({ target }) => ({ endpoint: target, halves: [] }),
  },

  portferry: {
    setup: 'host and guest, joined by a unix socket',
    find: async () => ({ version: VERSION }),
    async start(given) {
      const { folder, target, wrap, hostArgs = [] } = given;
      const endpoint = given.endpoint ?? (await freeEndpoint());
      const [listen, connect, relay] = await channel(given, 'path');
      const control = join(folder, 'control.sock');
      const env = { ...process.env, PORTFERRY_RUNTIME_DIR: folder, PORTFERRY_DOCKER: 'off' };
      delete env.NODE_OPTIONS;
      const program = (name) => [...wrap, process.execPath, join(ROOT, `dist/${name}/main.js`)];
      const forward = `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`;
      const host = new Half(
        [
          ...[...program('host'), 'host', '--listen', `unix:${listen.path}`, '--control', control],
          ...['--forward', forward, ...hostArgs],
        ],
        () => listens(endpoint),
        { ...given.options, env },
      );
      const guest = new Half(
        [...program('guest'), '--connect', `unix:${connect.path}`],
        async () => (await get(control, '/v1/status'))?.channel.state === 'connected',
        { ...given.options, env },
      );
      return { endpoint, host, guest, relay, halves: [host, guest], control };
    },
  },

  'vpnkit-forwarder': {
    setup: 'both halves, joined by a unix socket; what was exposed is exposed again after a restart',
    find: () => findByVersion('vpnkit-forwarder'),
    async start(given) {
      const { folder, target, wrap } = given;
      const endpoint = given.endpoint ?? (await freeEndpoint());
      const [listen, connect, relay] = await channel(given, 'path');
      const control = join(folder, 'control.sock');
      const file = await programFile('vpnkit-forwarder');
      const guest = new Half(
        [...wrap, file, '-data-listen', listen.path],
        () => listens(listen),
        given.options,
      );
      const host = new Half(
        [...wrap, file, '-data-connect', connect.path, '-control-listen', control],
        () => listens({ path: control }),
        { ...given.options, prepare: () => expose(control, endpoint, target) },
      );
      return { endpoint, host, guest, relay, halves: [guest, host] };
    },
  },

  haproxy: {
    setup: "two of them, joined by TCP; mode tcp, Debian's timeouts (50 s of silence), tcplog",
    find: () => findByVersion('haproxy', '-v'),
    async start(given) {
      const { folder, target, wrap } = given;
      const endpoint = given.endpoint ?? (await freeEndpoint());
      const [listen, connect, relay] = await channel(given, 'tcp');
      const file = await programFile('haproxy');
      const half = (name, bind, server) => {
        const path = join(folder, `${name}.cfg`);
        writeFileSync(path, haproxyConfig(bind, server));
        return new Half([...wrap, file, '-db', '-f', path], () => listens(bind), given.options);
      };
      const guest = half('guest', listen, target);
      const host = half('host', endpoint, connect);
      return { endpoint, host, guest, relay, halves: [guest, host] };
    },
  },

  ssh: {
    setup: 'ssh -N -L to an sshd, ExitOnForwardFailure, ServerAliveInterval 15',
    find: () => openssh.find(),
    async start(given) {
      const { folder, target, wrap } = given;
      const endpoint = given.endpoint ?? (await freeEndpoint());
      const [listen, connect, relay] = await channel(given, 'tcp');
      const key = join(folder, 'key');
      execFileSync(await programFile('ssh-keygen'), ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
      copyFileSync(`${key}.pub`, join(folder, 'authorized_keys'));
      writeFileSync(join(folder, 'sshd_config'), sshdConfig(folder, listen));
      // sshd wants its privilege separation folder, which a service's start would make.
      if (process.getuid() === 0) mkdirSync('/run/sshd', { recursive: true });
      const guest = new Half(
        [...wrap, await programFile('sshd'), '-D', '-e', '-f', join(folder, 'sshd_config')],
        () => listens(listen),
        given.options,
      );
      const host = new Half(
        [...wrap, await programFile('ssh'), ...sshArgs(key, connect, endpoint, target)],
        () => listens(endpoint),
        given.options,
      );
      return { endpoint, host, guest, relay, halves: [guest, host] };
    },
  },
};

/** Where one half listens and the other connects: the same place, or with a relay between. */
async function channel({ folder, relay: wanted }, kind) {
  const place = async (name) => (kind === 'path' ? { path: join(folder, `${name}.sock`) } : freeEndpoint());
  const listen = await place('channel');
  if (!wanted) return [listen, listen, undefined];
  const relay = new Relay(await place('relay'), listen);
  await relay.open();
  return [listen, relay.from, relay];
}

function haproxyConfig({ host, port }, server) {
  return `global
  log stdout format raw local0
defaults
  log global
  mode tcp
  option tcplog
  timeout connect 5000
  timeout client 50000
  timeout server 50000
listen forward
  bind ${host}:${port}
  server far ${server.host}:${server.port}
`;
}

function sshdConfig(folder, { host, port }) {
  return `ListenAddress ${host}:${port}
HostKey ${join(folder, 'key')}
AuthorizedKeysFile ${join(folder, 'authorized_keys')}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
`;
}

function sshArgs(key, server, endpoint, target) {
  const settings = [
    ...['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes'],
    ...['ExitOnForwardFailure=yes', 'ServerAliveInterval=15'],
  ];
  return [
    ...['-N', '-F', 'none', '-i', key, '-p', String(server.port)],
    ...settings.flatMap((setting) => ['-o', setting]),
    ...['-L', `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`],
    `${userInfo().username}@${server.host}`,
  ];
}

/** Whether somebody accepts connections there. */
function listens(place) {
  return new Promise((resolve) => {
    const socket = net.connect(place);
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

/** Asks vpnkit-forwarder's host half for a forward. @throws what it says when it refuses */
async function expose(control, endpoint, target) {
  const body = {
    ...{ proto: 'tcp', out_ip: endpoint.host, out_port: endpoint.port },
    ...{ in_ip: target.host, in_port: target.port },
  };
  const { status, text } = await request(control, 'PUT', '/forwards/expose/port', JSON.stringify(body));
  if (status !== 200) throw new Error(`status ${status}: ${text.trim()}`);
}

/** What a control socket answers, parsed; undefined when it does not. */
async function get(control, path) {
  try {
    return JSON.parse((await request(control, 'GET', path)).text);
  } catch {
    return undefined;
  }
}

function request(socketPath, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = http.request({ socketPath, method, path, headers, signal: AbortSignal.timeout(5_000) });
    sent.on('error', reject);
    sent.on('response', async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, text });
    });
    sent.end(body);
  });
}

/** What portferry's host knows of the connection that ended last: docs/records.md. */
export async function lastEnding({ control }) {
  const connections = (await get(control, '/v1/connections')) ?? [];
  return connections.find(({ ending }) => ending !== undefined)?.ending;
}
