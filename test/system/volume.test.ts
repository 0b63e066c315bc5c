import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type net from 'node:net';
import t from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { startServer } from '../fixtures/programs.js';
import { Observer, pattern } from '../protocol/fixtures/observer.js';

const MIB = 1024 * 1024;
const GIB_IN_CHUNKS = 256;
const CHUNK_BYTES = 4 * MIB;
const CONNECTIONS = 1000;

/** Sends a gibibyte and ends; each chunk differs from the others. @returns its checksum */
async function sendGibibyte(socket: net.Socket): Promise<string> {
  const hash = createHash('sha1');
  const base = pattern(CHUNK_BYTES);
  for (let count = 0; count < GIB_IN_CHUNKS; count++) {
    const chunk = Buffer.from(base);
    chunk.writeUInt32LE(count, (count * 4099) % (CHUNK_BYTES - 4));
    hash.update(chunk);
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}

t.test('a gibibyte in each direction arrives as it was sent', async (t) => {
  let finish: (checksums: string[]) => void = () => {};
  const served = new Promise<string[]>((resolve) => {
    finish = resolve;
  });
  const port = await startServer(t, async (socket) => {
    const observer = new Observer(socket);
    finish([await observer.checksum(), await sendGibibyte(socket)]);
  });
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const client = await pair.connect(port);
  const question = await sendGibibyte(client.socket);
  const answer = await client.checksum();
  t.equal(client.bytes, GIB_IN_CHUNKS * CHUNK_BYTES);
  t.same(await served, [question, answer]);
});

t.test('a thousand connections at once are served', async (t) => {
  let open = 0;
  let most = 0;
  const port = await startServer(t, (socket) => {
    most = Math.max(most, ++open);
    socket.on('close', () => open--);
    socket.on('data', (chunk) => {
      if (chunk.toString() === 'q') socket.write('a');
    });
    socket.on('end', () => socket.end());
  });
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => pair.connect(port)));
  for (const client of clients) client.socket.write('q');
  await Promise.all(clients.map((client) => client.until(() => client.bytes === 1)));
  t.equal(most, CONNECTIONS);
  const { lines } = await pair.run('status', '--json');
  t.match(JSON.parse(lines.join('\n')), { channel: { state: 'connected', streams: CONNECTIONS } });
  for (const client of clients) client.socket.end();
  const outcomes = await Promise.all(clients.map((client) => client.outcome()));
  t.equal(outcomes.filter((outcome) => outcome === 'end').length, CONNECTIONS);
  t.same(pair.warnings, []);
});
