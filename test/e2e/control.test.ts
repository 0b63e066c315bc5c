import { statSync } from 'node:fs';
import http from 'node:http';
import { dirname } from 'node:path';
import t from 'tap';
import { freePort } from '../fixtures/free-ports.js';
import { startServer } from '../fixtures/programs.js';
import { connect, Pair } from './fixtures/pair.js';

interface Answer {
  status: number | undefined;
  body: string;
}

/** One request to a control socket, with the headers of `curl -X METHOD -d BODY`. */
function ask(path: string, method: string, resource: string, body?: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = body && {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(text),
    };
    const request = http.request({
      socketPath: path,
      method,
      path: resource,
      agent: false,
      ...(headers && { headers }),
    });
    request.on('error', reject);
    request.on('response', async (response) => {
      let received = '';
      for await (const chunk of response) received += chunk;
      resolve({ status: response.statusCode, body: received });
    });
    request.end(text);
  });
}

const DONE = { status: 200, body: '' };

t.test("vpnkit's clients find its control API", async (t) => {
  const guestPort = await startServer(t, (socket) => socket.end('hello'));
  const pair = await Pair.start(t, '127.0.0.1:0:1');
  const { control } = pair;
  const hostPort = await freePort();
  const port = {
    proto: 'tcp',
    out_ip: '127.0.0.1',
    out_port: hostPort,
    in_ip: '127.0.0.1',
    in_port: guestPort,
  };

  for (const [expose, unexpose] of [
    ['PUT', 'DELETE'],
    ['POST', 'POST'],
  ] as const) {
    t.same(await ask(control, expose, '/forwards/expose/port', port), DONE);
    t.same(await ask(control, expose, '/forwards/expose/port', port), DONE, 'once more changes nothing');
    t.equal(await connect(t, hostPort).outcome(), 'end');
    const list = JSON.parse((await ask(control, 'GET', '/forwards/list')).body);
    t.equal(list.length, 2);
    t.has(list, { 1: port });
    t.same(await ask(control, unexpose, '/forwards/unexpose/port', port), DONE);
    t.same(
      await ask(control, unexpose, '/forwards/unexpose/port', port),
      DONE,
      'what is not there is done, too',
    );
    t.equal(await connect(t, hostPort).outcome(), 'ECONNREFUSED');
  }

  t.same(await ask(control, 'PUT', '/forwards/expose/port', { ...port, out_port: 0 }), DONE);
  const [, chosen] = JSON.parse((await ask(control, 'GET', '/forwards/list')).body);
  t.ok(chosen.out_port > 0);
  t.equal(await connect(t, chosen.out_port).outcome(), 'end');

  const pipe = { proto: 'unix', out_path: `${pair.folder}/out.sock`, in_path: '/nowhere.sock' };
  t.same(await ask(control, 'PUT', '/forwards/expose/pipe', pipe), DONE);
  t.match(JSON.parse((await ask(control, 'GET', '/forwards/list')).body)[2], pipe);
  t.same(await ask(control, 'DELETE', '/forwards/unexpose/pipe', pipe), DONE);

  const dump = await ask(control, 'GET', '/forwards/dump');
  t.equal(dump.status, 200);
  t.match(dump.body, /forward tcp 127\.0\.0\.1:\d+/);
});

t.test('what fails is answered with 400 and a message', async (t) => {
  const taken = await startServer(t, () => {});
  const { control } = await Pair.start(t, '127.0.0.1:0:1');
  const port = { proto: 'tcp', out_ip: '127.0.0.1', out_port: taken, in_ip: '127.0.0.1', in_port: 80 };
  const inUse = await ask(control, 'PUT', '/forwards/expose/port', port);
  t.equal(inUse.status, 400);
  t.match(JSON.parse(inUse.body), { message: new RegExp(`127\\.0\\.0\\.1:${taken}: .*pid ${process.pid}`) });
  for (const body of [{}, { proto: 'tcp' }, { ...port, out_ip: 'localhost' }, { ...port, out_port: 70000 }]) {
    const { status, body: text } = await ask(control, 'PUT', '/forwards/expose/port', body);
    t.equal(status, 400, text);
    t.type(JSON.parse(text).message, 'string');
  }
});

t.test('the control socket is for its owner only', async (t) => {
  const { control } = await Pair.start(t, '127.0.0.1:0:1');
  t.equal(statSync(control).mode & 0o777, 0o600);
  t.equal(statSync(dirname(control)).mode & 0o077, 0);
  const { status, body } = await ask(control, 'GET', '/v1/status');
  t.equal(status, 200);
  t.match(JSON.parse(body), { channel: { state: 'connected', peer: {} }, forwards: 1 });
});
