// What happens to the server behind the forwarder, or its client does.
import { setTimeout as passing } from 'node:timers/promises';
import { Client, works } from '../client.mjs';
import { send } from '../pattern.mjs';
import { download, RECOVERY_MS, SOON_MS, see, seeAtServer, upload } from './common.mjs';

/** A server that thinks: longer than many timeouts. */
const THINKING_MS = 55_000;

const MIB = 1024 * 1024;
const TRANSFER = 8 * MIB;
const SMALL = 64 * 1024;
const SLOW_READER_MS = 200;
const AT_ONCE = 20;

const serverResets = {
  id: 'server-resets',
  text: 'the server resets in mid-download',
  async make(scene) {
    const { client } = await download(scene);
    const at = performance.now();
    scene.destination.reset();
    return { ...(await see(client, SOON_MS, at)), says: await scene.says(at) };
  },
};

const serverKilled = {
  id: 'server-killed',
  text: 'the server is killed (-9) in mid-download',
  async make(scene) {
    const { client } = await download(scene);
    const at = performance.now();
    await scene.destination.kill();
    const seen = await see(client, SOON_MS, at);
    const says = await scene.says(at);
    await scene.destination.start();
    const started = performance.now();
    return { ...seen, says, worksMs: await works(scene.endpoint, RECOVERY_MS, started) };
  },
};

const serverRefuses = {
  id: 'server-refuses',
  text: 'nothing listens at the destination',
  async make(scene) {
    await scene.destination.kill();
    const at = performance.now();
    const seen = await see(new Client(scene.endpoint, 'download - 1000'), SOON_MS, at, 1000);
    const says = await scene.says(at);
    await scene.destination.start();
    return { ...seen, says };
  },
};

const serverFrozen = {
  id: 'server-frozen',
  text: `the server does not answer for ${THINKING_MS / 1000} s, then it does`,
  slow: true,
  async make(scene) {
    scene.destination.freeze();
    const at = performance.now();
    const client = new Client(scene.endpoint, `download - ${MIB}`);
    await Promise.race([passing(THINKING_MS), client.end(THINKING_MS)]);
    if (client.outcome === undefined) await passing(THINKING_MS - (performance.now() - at));
    scene.destination.thaw();
    return { ...(await see(client, SOON_MS, at, MIB)), says: await scene.says(at) };
  },
};

const clientHalfCloses = {
  id: 'client-half-closes',
  text: 'the client ends its direction after 8 MiB, and then gets 8 MiB',
  async make(scene) {
    const id = scene.newStory();
    const at = performance.now();
    const client = new Client(scene.endpoint, `answer ${id} ${TRANSFER}`);
    send(client.socket, TRANSFER);
    return both(await see(client, SOON_MS, at, TRANSFER), await atServer(scene, client, id));
  },
};

const serverHalfCloses = {
  id: 'server-half-closes',
  text: 'the server ends its direction after 8 MiB, and then gets 8 MiB',
  async make(scene) {
    const id = scene.newStory();
    const at = performance.now();
    const client = new Client(scene.endpoint, `ask ${id} ${TRANSFER}`);
    await client.end(SOON_MS);
    send(client.socket, TRANSFER);
    const arrived = await atServer(scene, client, id);
    return both(await see(client, SOON_MS, at, TRANSFER), arrived, at);
  },
};

function atServer(scene, client, id) {
  return seeAtServer(scene, { client, id }, SOON_MS, performance.now(), TRANSFER);
}

/** Whole where both directions are. */
function both(first, second, at) {
  const worse = first.seen === 'whole' ? second : first;
  return {
    ...worse,
    ms: at === undefined ? first.ms : performance.now() - at,
    bytes: first.bytes + second.bytes,
  };
}

const closedAtOnce = {
  id: 'closed-at-once',
  text: '64 KiB written and closed at once by the server, before the client reads; 20 of them',
  async make(scene) {
    const at = performance.now();
    const clients = Array.from({ length: AT_ONCE }, () => {
      const client = new Client(scene.endpoint, `blurt - ${SMALL}`);
      client.socket.pause();
      return client;
    });
    await passing(SLOW_READER_MS);
    for (const { socket } of clients) socket.resume();
    const seen = await Promise.all(clients.map((client) => see(client, SOON_MS, at, SMALL)));
    return seen.find((each) => each.seen !== 'whole') ?? seen[0];
  },
};

const clientResets = {
  id: 'client-resets',
  text: 'the client resets in mid-upload',
  async make(scene) {
    const from = await upload(scene);
    const at = performance.now();
    from.client.socket.resetAndDestroy();
    return { ...(await seeAtServer(scene, from, SOON_MS, at)), says: await scene.says(at) };
  },
};

export const DESTINATION = [serverResets, serverKilled, serverRefuses, serverFrozen];
export const ENDS = [clientHalfCloses, serverHalfCloses, closedAtOnce, clientResets];
