import { spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { ControlClient } from '../../../host/control/client.js';
import { shortFolder } from '../../fixtures/short-folder.js';

async function answerWith(t: Test, answer: http.RequestListener): Promise<string> {
  const path = `${shortFolder(t)}/c.sock`;
  const server = http.createServer(answer).listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return path;
}

t.test('says when no host is there', async (t) => {
  const path = `${t.testdir({ file: '' })}/none.sock`;
  await t.rejects(new ControlClient(path).status(), {
    name: 'OperationError',
    message: `no portferry host answers on ${path} (ENOENT): start it with 'portferry host' or give --control PATH`,
  });
});

t.test('says when a path is too long to be reached', async (t) => {
  await t.rejects(new ControlClient(`/${'x'.repeat(300)}`).status(), {
    name: 'OperationError',
    message: /bytes long/,
  });
});

t.test('says when the host is of another version, and does not know the request', async (t) => {
  const path = await answerWith(t, (_request, response) => {
    response.writeHead(404).end('{"message":"there is no GET /v1/doctor here"}');
  });
  await t.rejects(new ControlClient(path).health(), {
    message: `the host on ${path} is of another version than this command (there is no GET /v1/doctor here): restart it (portferry service restart)`,
  });
});

t.test('says when what answers is no host', async (t) => {
  const html = await answerWith(t, (_request, response) => response.end('<html>'));
  await t.rejects(new ControlClient(html).status(), {
    name: 'OperationError',
    message: /is no portferry host/,
  });
});

t.test('says what the host says is wrong, or at least its status', async (t) => {
  const bodies = ['{"message":"taken"}', '{"error":"x"}', 'oops'];
  const path = await answerWith(t, (_request, response) => {
    response.statusCode = 500;
    response.end(bodies.shift());
  });
  const client = new ControlClient(path);
  await t.rejects(client.status(), { message: 'taken' });
  await t.rejects(client.status(), { message: `the host on ${path} answered GET /v1/status with 500` });
  await t.rejects(client.status(), { message: /with 500$/ });
});

t.test('a level that is none comes from no host', async (t) => {
  const path = await answerWith(t, (_request, response) => response.end('{"level":"loud"}'));
  await t.rejects(new ControlClient(path).logLevel(), { message: /is no portferry host of this version/ });
});

t.test('does not wait for ever', async (t) => {
  const path = await answerWith(t, () => {});
  await t.rejects(new ControlClient(path, 20).status(), { message: /has not answered for 0\.02 s$/ });
});

t.test('does not wait for ever for an answer that has begun', async (t) => {
  const path = await answerWith(t, (_request, response) => {
    response.writeHead(503, { 'content-length': 100 });
    response.write('{');
  });
  const client = new ControlClient(path, 20);
  await t.rejects(client.capture({ of: '80' }), { message: /has not answered for 0\.02 s$/ });
  await t.rejects(client.status(), { message: /has not answered for 0\.02 s$/ });
});

t.test('an answer that breaks off, or is none', async (t) => {
  const path = await answerWith(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{');
    response.destroy();
  });
  await t.rejects(new ControlClient(path).status(), {
    name: 'OperationError',
    message: `the portferry host on ${path} has ended the connection (ECONNRESET): it is busy, or stopping; try again`,
  });
  const other = `${shortFolder(t)}/o.sock`;
  const server = net.createServer((socket) => socket.end('SSH-2.0\r\n')).listen(other);
  await once(server, 'listening');
  t.teardown(() => server.close());
  await t.rejects(new ControlClient(other).status(), {
    name: 'OperationError',
    message: /HPE_INVALID|Parse Error/,
  });
});

t.test('an answer of another shape, or of no end', async (t) => {
  const answers = ['[]', 'null', '{}', '[1]', '"x"'];
  const path = await answerWith(t, (_request, response) => void response.end(answers.shift()));
  const client = new ControlClient(path);
  const no = {
    name: 'OperationError',
    message: /is no portferry host of this version: GET \S+ gave something/,
  };
  await t.rejects(client.status(), no);
  await t.rejects(client.status(), no);
  await t.rejects(client.forwards(), no);
  await t.rejects(client.connections(), no);
  await t.rejects(client.expose(['80']), { message: /POST \/v1\/forwards gave something else/ });
  const endless = await answerWith(t, (_request, response) => {
    const write = (): void => {
      while (response.write('x'.repeat(1000)));
      response.once('drain', write);
    };
    write();
  });
  await t.rejects(new ControlClient(endless, 60_000, 100_000).status(), {
    name: 'OperationError',
    message: /is no portferry host: it gave a body of more than 100000 bytes$/,
  });
});

t.test('what the host says is wrong does nothing to a terminal', async (t) => {
  const path = await answerWith(t, (_request, response) => {
    response.statusCode = 302;
    response.end(JSON.stringify({ message: `\u001b[2J\n${'x'.repeat(10_000)}` }));
  });
  await t.rejects(new ControlClient(path).status(), { message: /^ \[2J x{990,}…$/ });
});

t.test('says what stands in the way of connecting', async (t) => {
  const path = `${shortFolder(t)}/c.sock`;
  // A host that was killed leaves its socket behind.
  const left = spawnSync(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  t.equal(left.signal, 'SIGKILL');
  await t.rejects(new ControlClient(path).status(), {
    message: `no portferry host answers on ${path} (ECONNREFUSED): the one that did has ended; start it with 'portferry host'`,
  });
  const failing = (code: string): Promise<unknown> => {
    t.intercept(http, 'request', {
      value: () => {
        const request = new EventEmitter() as EventEmitter & { end(): void };
        request.end = () => request.emit('error', Object.assign(new Error(`connect ${code}`), { code }));
        return request;
      },
    });
    return new ControlClient(path).status();
  };
  await t.rejects(failing('EACCES'), { message: /cannot be used \(EACCES\): it is another user's/ });
  await t.rejects(failing('EAGAIN'), { message: /is busy \(EAGAIN\): too many wait to be connected/ });
  await t.rejects(failing('EPIPE'), { message: /has ended the connection \(EPIPE\)/ });
});
