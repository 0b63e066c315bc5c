import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { formatMicroseconds } from '../cli/output.js';
import type { ConnectionReport } from '../control/reports.js';

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

/** The way of the request, a line per hop, and how long each part took as far as it was recorded. */
export function formatWay({ request, connection, forward, channel, destination }: DemoWay): string {
  const { client, status, bytes, connectedUs, answeredUs, doneUs } = request;
  const lines = [
    'one request took this way:',
    `  client         ${client.address}, port ${client.port}`,
    `  → host         listener ${forward}`,
    `  → channel      ${channel}${connection ? `, stream ${connection.streamId}` : ''}`,
    '  → guest        which dials the destination',
    `  → server       ${destination}`,
    `and was answered with status ${status} and ${bytes} bytes. Times, as the client saw them:`,
    `  connected after ${formatMicroseconds(connectedUs)}, first byte after ${formatMicroseconds(answeredUs)}, all after ${formatMicroseconds(doneUs)}`,
  ];
  const timings = Object.entries(connection?.timings ?? {});
  if (timings.length > 0) lines.push('and in between, as the host recorded them:');
  const width = Math.max(...timings.map(([step]) => step.length));
  for (const [step, time] of timings) lines.push(`  ${step.padEnd(width)}  ${formatMicroseconds(time)}`);
  return `${lines.join('\n')}\n`;
}
