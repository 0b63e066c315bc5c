import http from 'node:http';
import { listenOnUnixPath } from '../protocol/transport/unix-path.js';
import type { Agent } from './agent.js';

/**
 * Serves what a guest can answer of vpnkit-forwarder's control API (`-control-listen`): the state of its
 * multiplexer, and the forwards, of which a guest has none. Forwards are listened on by the host, so asking
 * for one here is answered with the reason why not, which vpnkit's clients show.
 * @throws OperationError when `path` cannot be listened on
 */
export async function serveVpnkitControl(path: string, agent: Agent): Promise<http.Server> {
  const server = http.createServer((request, response) => {
    const answer = answerTo(request.url, agent);
    response.writeHead(answer.status, { 'content-type': answer.type });
    response.end(answer.body);
    request.resume();
  });
  await listenOnUnixPath(server, path);
  return server;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

function answerTo(url: string | undefined, agent: Agent): Answer {
  if (url === '/forwards/list') return json(200, []);
  if (url === '/forwards/dump')
    return { status: 200, type: 'text/plain; charset=utf-8', body: agent.describe() };
  if (url?.startsWith('/forwards/unexpose/')) return { status: 200, type: 'text/plain', body: '' };
  if (url?.startsWith('/forwards/expose/'))
    return json(400, {
      message:
        'portferry-guest listens on no ports: ask the host, with portferry expose or its control socket',
    });
  return json(404, { message: `there is no ${url} here` });
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: JSON.stringify(value) };
}
