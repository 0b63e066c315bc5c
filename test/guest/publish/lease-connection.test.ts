import type http from 'node:http';
import t, { type Test } from 'tap';
import { LeaseConnection } from '../../../guest/publish/lease-connection.js';
import { StreamDuplex } from '../../../protocol/duplex.js';
import { CONTROL_SERVICE } from '../../../protocol/services/control.js';
import { LeaseHost, port } from '../../fixtures/leases.js';
import { turnsUntil } from '../../protocol/fixtures/signal.js';
import { serving, writeForEver } from './fixtures/serving.js';

/** A lease on a host that answers every request so. */
async function connectTo(
  t: Test,
  answer: (response: http.ServerResponse, request: http.IncomingMessage) => void,
): Promise<LeaseConnection> {
  const host = await LeaseHost.start(t);
  const { guest, b } = host.channel();
  b.owner.accept = serving((request, response) => answer(response, request));
  const duplex = new StreamDuplex((handler) =>
    guest.multiplexer.open({ proto: 'unix', path: CONTROL_SERVICE }, handler),
  );
  return new LeaseConnection(duplex, () => {});
}

const raw = (text: string) => (response: http.ServerResponse) => void response.socket?.end(text);
const body = (text: string) => (response: http.ServerResponse) => void response.end(text);
const status = (code: number) => (response: http.ServerResponse) => void response.writeHead(code).end('{}');

t.test('an answer that is none ends the lease, whatever it is', async (t) => {
  const cases: [answer: (response: http.ServerResponse) => void, problem: RegExp][] = [
    [raw('HTTP/1.1 042 x\r\ncontent-length: 0\r\n\r\n'), /^it answers with status 42, which is no answer$/],
    [raw('HTTP/1.1 999 x\r\ncontent-length: 0\r\n\r\n'), /^it answers with status 999/],
    [raw('\0\0\0'), /^Parse Error/],
    [raw('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{'), /^the host has ended the lease$/],
    [status(204), /status 204/],
    [status(302), /status 302/],
    [writeForEver, /^its answer is a body of more than 69632 bytes$/],
    [body('['.repeat(60_000)), /nested deeper than 4/],
    [body(`[${'0,'.repeat(10_000)}0]`), /more than 80 values/],
    [body('\u001b[2J'), /^its answer is not valid JSON: \P{Cc}*$/u],
    [body(''), /must be one JSON object/],
    [body('null'), /must be one JSON object/],
    [body('[]'), /must be one JSON object/],
    [body('{}'), /"proto" must be "tcp", "udp" or "unix", not nothing/],
    [body('{"proto":"tcp"}'), /does not say which port/],
    [body('{"proto":"tcp","out_port":70000}'), /"out_port" must be a port/],
    [body('{"proto":"tcp","out_port":1,"in_path":7}'), /"in_path" must be a text/],
    [
      body(`{"proto":"tcp","out_port":1,"in_path":"${'x'.repeat(4_097)}"}`),
      /a text of at most 4096 characters/,
    ],
    [body('{"proto":"tcp","out_port":1,"idle_seconds":"7"}'), /"idle_seconds" must be a number/],
  ];
  for (const [answer, message] of cases) {
    const connection = await connectTo(t, answer);
    await t.rejects(connection.expose(port(0)), { name: 'ConnectionLost', message });
    t.ok(connection.ended);
    await t.rejects(connection.list(0), { name: 'ConnectionLost' });
  }
});

t.test('of the forward that is exposed, the host says the port that it has chosen', async (t) => {
  const connection = await connectTo(t, body('{"proto":"udp","out_port":7,"in_port":9,"x":{},"in_ip":null}'));
  t.same(await connection.expose(port(0)), port(7));
  t.same(await connection.expose(port(80)), port(80));
  const pipe = { proto: 'unix', out_path: '/a', in_path: '/b' } as const;
  t.same(await connection.expose(pipe), pipe);
  t.equal(await connection.unexpose(pipe), undefined);
});

t.test('what the host refuses, with text that does nothing to a terminal', async (t) => {
  const answers: [status: number, body: string, message: string][] = [
    [400, '{"message":"taken"}', 'taken'],
    [403, '{"message":"\\u001b[2J\\n"}', ' [2J '],
    [500, `{"message":"${'x'.repeat(5000)}"}`, `${'x'.repeat(999)}…`],
    [503, '{"message":7}', 'the host has answered with 503'],
    [599, '"x"', 'the host has answered with 599'],
    [404, '', 'the host has answered with 404'],
  ];
  let asked = 0;
  const connection = await connectTo(t, (response) => {
    const [code = 0, text = ''] = answers[asked++] ?? [];
    response.writeHead(code).end(text);
  });
  for (const [code, , message] of answers)
    await t.rejects(connection.expose(port(0)), { name: 'ExposeError', status: code, message });
  t.notOk(connection.ended);
});

t.test('reports and lists', async (t) => {
  const answers: [answer: unknown, outcomes: object[] | RegExp][] = [
    [{ forwards: [{ state: 'listening', out_port: 7 }] }, [{ state: 'listening', out_port: 7 }]],
    [{ forwards: [{ state: 'listening', out_port: 70_000 }, {}] }, [{ state: 'listening' }]],
    [
      { forwards: [{ state: 'failed', message: 'a\u001bb', code: 'EADDRINUSE', x: 1 }] },
      [{ state: 'failed', message: 'a b', code: 'EADDRINUSE' }],
    ],
    [{ forwards: [{ state: 'refused', message: {}, code: 'a code' }] }, [{ state: 'refused' }]],
    [{ forwards: [] }, [{ state: 'failed', message: 'the host has not said what has become of it' }]],
    [{ forwards: [{ state: 'gone' }] }, /a state that is none/],
    [{ forwards: [7] }, /no object where one should be/],
    [{ forwards: {} }, /no forwards/],
    [[], /no forwards/],
    [7, /no object/],
  ];
  for (const [answer, outcomes] of answers) {
    const connection = await connectTo(t, body(JSON.stringify(answer)));
    const set = connection.set({ publisher: 'p', forwards: [port(1)] });
    if (outcomes instanceof RegExp) await t.rejects(set, { name: 'ConnectionLost', message: outcomes });
    else t.same(await set, outcomes);
  }
  t.same(await (await connectTo(t, body('[{"proto":"tcp","out_port":1}]'))).list(1), [
    { proto: 'tcp', out_port: 1 },
  ]);
  for (const text of ['{}', '[1]', '[{"proto":"sctp"}]'])
    await t.rejects((await connectTo(t, body(text))).list(1), { name: 'ConnectionLost' });
  const long = JSON.stringify([{ proto: 'tcp', annotation: 'x'.repeat(100_000) }]);
  await t.rejects((await connectTo(t, body(long))).list(1), { message: /a body of more than 69632 bytes/ });
});

t.test('a host that goes on when its answer is over', async (t) => {
  const connection = await connectTo(t, (response) => {
    const { socket } = response;
    if (!socket) return;
    const write = (): void => {
      while (!socket.destroyed && socket.write('x'.repeat(10_000)));
    };
    socket.on('drain', write);
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
    write();
  });
  await connection.unexpose(port(1)).catch(() => {});
  await turnsUntil(() => connection.ended);
  await t.rejects(connection.list(0), { name: 'ConnectionLost' });
});
