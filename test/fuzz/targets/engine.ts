import { EngineClient } from '../../../guest/docker/engine.js';
import { EngineError } from '../../../guest/docker/engine-socket.js';
import { RawServer } from '../fixtures/raw-server.js';
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
    const dockerd = await server();
    dockerd.answerWith(() => Buffer.from(rest), cut);
    const giveUp = new AbortController();
    try {
      await ASKED[which % ASKED.length]?.(new EngineClient(dockerd.path), giveUp.signal);
    } catch (thrown) {
      if (!(thrown instanceof EngineError)) throw thrown;
    } finally {
      // An unread rest of an answer.
      giveUp.abort();
      dockerd.end();
    }
  },
  async close() {
    (await theServer)?.close();
  },
};

function seed(which: number, text: string): Buffer {
  return Buffer.from(`${String.fromCharCode(which, 0)}${text}`, 'latin1');
}

function answer(body: string, headers = ''): string {
  return `HTTP/1.1 200 OK\r\n${headers}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

let theServer: Promise<RawServer> | undefined;

/** One for all inputs: every request is answered with the same bytes. */
function server(): Promise<RawServer> {
  theServer ??= new RawServer().listen();
  return theServer;
}
