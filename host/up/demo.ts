import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import { formatMicroseconds, formatTable } from '../cli/output.js';
import type { ConnectionReport } from '../records/reports.js';

/** The demonstration's request must not wait for ever (ms). */
const REQUEST_TIMEOUT_MS = 10_000;

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>portferry</title>
<h1>It works</h1>
<p>This page comes from a small web server on the guest's side. Your request went to the host's listener, over
the channel to the guest, and from there to the server.</p>
`;

export interface DemoServer {
  port: number;
  close(): Promise<void>;
}

/** A small web server on 127.0.0.1, standing for what runs in the guest. */
export async function startDemoServer(): Promise<DemoServer> {
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(PAGE);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** One request as its client saw it. Times are microseconds since it began. */
export interface DemoRequest {
  /** The client's own address and port. */
  client: { address: string; port: number };
  status: number;
  bytes: number;
  connectedUs: number;
  answeredUs: number;
  doneUs: number;
}

/**
 * Makes one request to localhost.
 * @throws OperationError
 */
export async function makeDemoRequest(port: number): Promise<DemoRequest> {
  const began = performance.now();
  const elapsed = (): number => Math.round((performance.now() - began) * 1000);
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const request = http.get({ host: 'localhost', port, agent: false, signal });
    const connected = once(request, 'socket').then(async ([socket]) => {
      await once(socket, 'connect', { signal });
      const client = { address: socket.localAddress as string, port: socket.localPort as number };
      return {
        client,
        connectedUs: elapsed(),
        closed: new Promise((resolve) => socket.once('close', resolve)),
      };
    });
    const [[response], { client, connectedUs, closed }] = await Promise.all([
      once(request, 'response'),
      connected,
    ]);
    const answeredUs = elapsed();
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    const doneUs = elapsed();
    await closed;
    return { client, status: response.statusCode, bytes, connectedUs, answeredUs, doneUs };
  } catch (thrown) {
    throw new OperationError(`the request through localhost:${port} failed: ${messageOf(thrown)}`);
  }
}

/** Where the request of a demonstration went. */
export interface DemoWay {
  request: DemoRequest;
  /** What the host recorded of its connection. */
  connection: ConnectionReport | undefined;
  forward: string;
  channel: string;
  destination: string;
}

/** The connection of a request among those that the host knows, open or ended. */
export function findConnection(
  connections: readonly ConnectionReport[],
  { client }: DemoRequest,
): ConnectionReport | undefined {
  return connections.find((connection) => connection.client?.endsWith(`:${client.port}`));
}

/** The hops' times among those that a host records, and what each means. */
const HOP_TIMES: Record<string, string> = {
  hold: 'until its stream was opened',
  channel: 'there and back',
  guestDial: 'to connect to the server',
  firstByte: 'from there to the first byte of the answer',
};

/** The way of the request, a line per hop, with the time each took as far as it was recorded. */
export function formatWay({ request, connection, forward, channel, destination }: DemoWay): string {
  const { client, status, bytes, connectedUs, answeredUs, doneUs } = request;
  const timings = connection?.timingsMicros ?? {};
  const time = (step: string): string => {
    const recorded = timings[step];
    return recorded === undefined ? '' : `${formatMicroseconds(recorded)} ${HOP_TIMES[step]}`;
  };
  const hops = [
    ['client', formatHostPort(client.address, client.port), `${formatMicroseconds(connectedUs)} to connect`],
    ['→ host', `listener ${forward}`, time('hold')],
    ['→ channel', connection ? `${channel}, stream ${connection.streamId}` : channel, time('channel')],
    ['→ guest', `dials ${destination}`, time('guestDial')],
    ['→ server', destination, time('firstByte')],
  ];
  const others = Object.entries(timings)
    .filter(([step]) => !(step in HOP_TIMES))
    .map(([step, recorded]) => `${step} ${formatMicroseconds(recorded)}`);
  const recorded = others.length > 0 ? `The host recorded besides: ${others.join(', ')}.\n` : '';
  return `The way of one request, hop by hop:
${formatTable(hops)}Answered with status ${status} and ${bytes} bytes: first byte after ${formatMicroseconds(answeredUs)}, all after ${formatMicroseconds(doneUs)}, as the client saw it.
${recorded}`;
}
