import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { readBody } from '../../../protocol/services/http-body.js';

/** What has become of the body of a request whose head ends with `more`, sent in two parts. */
async function read(t: Test, more: string, rest: string, end = false): Promise<string> {
  const outcome = new Promise<string>((resolve) => {
    const server = http.createServer((request) => {
      readBody(request, 10).then(
        (body) => resolve(body.toString()),
        (error: Error) => resolve(`${error.name}: ${error.message}`),
      );
      if (end) socket.end(rest);
      else socket.write(rest);
    });
    server.listen(0, '127.0.0.1', () => socket.connect((server.address() as net.AddressInfo).port));
    t.teardown(() => server.close());
  });
  const socket = new net.Socket();
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  socket.write(`PUT / HTTP/1.1\r\nhost: h\r\n${more}`);
  return outcome;
}

const CHUNKED = 'transfer-encoding: chunked\r\n\r\n';

t.test('a body is read whole, up to what is taken', async (t) => {
  t.equal(await read(t, 'content-length: 10\r\n\r\n01234', '56789'), '0123456789');
  t.equal(await read(t, '\r\n', ''), '');
  t.equal(await read(t, `${CHUNKED}5\r\n01234\r\n`, '5\r\n56789\r\n0\r\n\r\n'), '0123456789');
});

t.test('one that is larger is refused as soon as that is known', async (t) => {
  const refused = 'BodyTooLarge: a body of more than 10 bytes';
  t.equal(await read(t, 'content-length: 11\r\n\r\n', ''), refused, 'by its head');
  t.equal(await read(t, `${CHUNKED}5\r\n01234\r\n`, '6\r\n567890\r\n'), refused);
});

t.test('one that is cut off', async (t) => {
  t.match(await read(t, 'content-length: 10\r\n\r\n01234', '', true), /^Error: (aborted|it was cut off)$/);
});
