import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineClient } from '../../../guest/docker/engine.js';
import { EngineError } from '../../../guest/docker/engine-socket.js';
import type { Target } from '../target.js';

/** A connection each, and some turns of the event loop. */
const COST = 8;

/** Events that are read of one answer. */
const MAX_EVENTS = 1_000;

const LIST =
  '[{"Id":"0123456789abcdef","Names":["/web"],"Labels":{},"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}]';
const EVENT = '{"Type":"container","Action":"die","Actor":{"ID":"0123"}}\n';
const INFO = '{"Name":"vm","SecurityOptions":["name=rootless"],"Rootless":true}';

const ASKED: readonly ((client: EngineClient, signal: AbortSignal) => Promise<unknown>)[] = [
  (client, signal) => client.listContainers(signal),
  (client, signal) => client.findHome(signal),
  async (client, signal) => {
    let count = 0;
    for await (const { id } of await client.openEvents(0, signal)) {
      if (typeof id !== 'string') throw new Error('an event without an id');
      if (++count > MAX_EVENTS) break;
    }
    // It may have said that it is podman, which is asked for two lists.
    await client.listContainers(signal);
  },
];

/** What a Docker engine answers on its socket: the first byte says to what, the second how it is cut. */
export const engine: Target = {
  cost: COST,
  seeds: [
    seed(0, answer(LIST)),
    seed(1, answer(INFO)),
    seed(2, answer(EVENT + EVENT, 'libpod-api-version: 4.9.3\r\n')),
    seed(0, `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n`),
    seed(
      2,
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${EVENT.length.toString(16)}\r\n${EVENT}\r\n`,
    ),
    seed(1, 'HTTP/1.0 500 no\r\n\r\n{"message":"broken"}'),
    seed(0, `HTTP/1.1 100 Continue\r\n\r\n${answer('{"message":"no"}').replace('200 OK', '404 Not Found')}`),
  ],
  async run([which = 0, cut = 0, ...rest]) {
    const { path, answers } = await socket();
    answers.bytes = Buffer.from(rest);
    answers.cut = cut;
    const giveUp = new AbortController();
    try {
      await ASKED[which % ASKED.length]?.(new EngineClient(path), giveUp.signal);
    } catch (thrown) {
      if (!(thrown instanceof EngineError)) throw thrown;
    } finally {
      // An answer without an end, or an unread rest of one.
      giveUp.abort();
      for (const open of answers.open) open.destroy();
    }
  },
  async close() {
    (await theSocket)?.server.close();
  },
};

function seed(which: number, text: string): Buffer {
  return Buffer.from(`${String.fromCharCode(which, 0)}${text}`, 'latin1');
}

function answer(body: string, headers = ''): string {
  return `HTTP/1.1 200 OK\r\n${headers}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

interface EngineOnSocket {
  path: string;
  server: net.Server;
  answers: { bytes: Buffer; cut: number; open: Set<net.Socket> };
}

let theSocket: Promise<EngineOnSocket> | undefined;

/** One for all inputs: every request is answered with the same bytes, after which the connection ends. */
function socket(): Promise<EngineOnSocket> {
  theSocket ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pf-'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'docker.sock');
    const answers = { bytes: Buffer.alloc(0), cut: 0, open: new Set<net.Socket>() };
    const server = net.createServer((connection) => {
      answers.open.add(connection);
      connection.on('error', () => {}).on('close', () => answers.open.delete(connection));
      connection.once('data', () => {
        const { bytes, cut } = answers;
        const size = cut || bytes.length || 1;
        for (let at = 0; at < bytes.length; at += size) connection.write(bytes.subarray(at, at + size));
        connection.end();
      });
    });
    server.listen(path);
    await once(server, 'listening');
    return { path, server, answers };
  })();
  return theSocket;
}
