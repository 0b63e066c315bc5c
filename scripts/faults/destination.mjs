// The server behind the forwarder, as a process of its own that can be killed: what it does with a connection,
// the first line of it says.
import net from 'node:net';
import { wasReset } from './ending.mjs';
import { check, fill, send } from './pattern.mjs';

/** Keeps of each connection that was asked to tell: how much came, and how it ended. */
const stories = new Map();
const pouring = new Set();

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => {});
  let head = '';
  const onHead = (bytes) => {
    const at = bytes.indexOf(10);
    head += bytes.subarray(0, at < 0 ? bytes.length : at).toString('latin1');
    if (at < 0) return;
    socket.off('data', onHead);
    const [what, id, number] = head.split(' ');
    SERVE[what]?.(socket, id, Number(number), bytes.subarray(at + 1));
  };
  socket.on('data', onHead);
});

/** What a connection may ask for; `early` came with the line. */
const SERVE = {
  /** Answers each byte with one. */
  echo(socket) {
    socket.write('!');
    socket.on('data', (bytes) => socket.write(bytes));
    socket.on('end', () => socket.end());
  },
  /** Sends so many bytes, and ends. */
  download(socket, _id, count) {
    pouring.add(socket);
    socket.on('close', () => pouring.delete(socket)).resume();
    send(socket, count);
  },
  /** Sends so many bytes at once, and closes. */
  blurt(socket, _id, count) {
    socket.write(fill(0, count));
    socket.destroySoon();
  },
  /** Takes bytes to the end, and keeps how that came. */
  upload(socket, id, _count, early) {
    observe(socket, id, early);
    socket.on('end', () => socket.end());
  },
  /** Takes bytes to their end, and only then sends so many. */
  answer(socket, id, count, early) {
    observe(socket, id, early);
    socket.on('end', () => send(socket, count));
  },
  /** Sends so many and ends its direction; takes what comes all the same. */
  ask(socket, id, count, early) {
    observe(socket, id, early);
    send(socket, count);
  },
};

function observe(socket, id, early) {
  const story = { bytes: 0, right: true, outcome: undefined };
  stories.set(id, story);
  const take = (bytes) => {
    story.right &&= check(bytes, story.bytes);
    story.bytes += bytes.length;
  };
  const end = (outcome) => {
    if (story.outcome !== undefined) return;
    story.outcome = outcome;
    story.at = performance.timeOrigin + performance.now();
  };
  take(early);
  socket.on('data', take);
  socket.on('end', () => end(wasReset(socket) ? 'ECONNRESET' : 'end'));
  socket.on('error', ({ code }) => end(code));
  socket.on('close', () => end('closed'));
}

process.on('message', ({ command, id }) => {
  if (command === 'reset') for (const socket of pouring) socket.resetAndDestroy();
  if (command === 'story') process.send({ id, story: stories.get(id) });
});

server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 1024 }, () =>
  process.send({ ready: true }),
);
