// Halves of the forwarder that are killed, stopped or restarted.
import { setTimeout as passing } from 'node:timers/promises';
import { Client, works } from '../client.mjs';
import { download, hasHalves, RECOVERY_MS, SOON_MS, see, seeAtServer, upload } from './common.mjs';

/** Longer than any of the timeouts that the forwarders are set to. */
const PATIENCE_MS = 75_000;

/** A sleep that is longer than portferry's own patience with a silent peer. */
const SLEEP_MS = 8_000;

const PAUSE_MS = 1_000;
const SLEEPY_BYTES = 64 * 1024 * 1024;

const killed = ({ id, half, direction }) => ({
  id,
  text: `the ${half} half is killed (-9) in mid-${direction}`,
  lacks: hasHalves,
  async make(scene) {
    const from = direction === 'download' ? await download(scene) : await upload(scene);
    const at = await scene.running[half].kill();
    const seen =
      direction === 'download'
        ? await see(from.client, SOON_MS, at)
        : await seeAtServer(scene, from, SOON_MS, at);
    const says = await scene.says(at);
    return { ...seen, says, worksMs: await works(scene.endpoint, RECOVERY_MS, at) };
  },
});

const guestFrozen = {
  id: 'guest-frozen',
  text: 'the guest half is frozen (SIGSTOP) in mid-download',
  slow: true,
  lacks: hasHalves,
  async make(scene) {
    const { client } = await download(scene);
    const at = await scene.running.guest.freeze();
    const seen = await see(client, PATIENCE_MS, at);
    const says = await scene.says(at);
    const thawed = await scene.running.guest.thaw();
    return { ...seen, says, worksMs: await works(scene.endpoint, RECOVERY_MS, thawed) };
  },
};

const guestRestarted = {
  id: 'guest-restarted',
  text: 'the guest half is restarted in order, away for 1 s; a client comes meanwhile',
  lacks: hasHalves,
  async make(scene) {
    const { guest } = scene.running;
    await guest.end();
    const at = performance.now();
    const client = new Client(scene.endpoint, 'download - 100000');
    await passing(PAUSE_MS);
    const started = performance.now();
    const starting = guest.start();
    const worksMs = await works(scene.endpoint, RECOVERY_MS, started);
    await starting;
    return { ...(await see(client, SOON_MS, at, 100_000)), says: await scene.says(at), worksMs };
  },
};

const asleep = {
  id: 'asleep',
  text: `both halves sleep for ${SLEEP_MS / 1000} s in mid-download`,
  slow: true,
  lacks: hasHalves,
  async make(scene) {
    const { host, guest } = scene.running;
    const { client } = await download(scene, SLEEPY_BYTES);
    client.socket.pause();
    const at = performance.now();
    await host.freeze();
    await guest.freeze();
    await passing(SLEEP_MS);
    await guest.thaw();
    const awake = await host.thaw();
    client.socket.resume();
    const worksMs = await works(scene.endpoint, RECOVERY_MS, awake);
    const seen = await see(client, SOON_MS, awake, SLEEPY_BYTES);
    return { ...seen, says: await scene.says(at), worksMs };
  },
};

export const HALVES = [
  killed({ id: 'guest-killed-download', half: 'guest', direction: 'download' }),
  killed({ id: 'guest-killed-upload', half: 'guest', direction: 'upload' }),
  killed({ id: 'host-killed-download', half: 'host', direction: 'download' }),
  killed({ id: 'host-killed-upload', half: 'host', direction: 'upload' }),
  guestFrozen,
  guestRestarted,
  asleep,
];

const channelCut = {
  id: 'channel-cut',
  text: 'the channel is cut in mid-download',
  lacks: hasHalves,
  options: { relay: true },
  async make(scene) {
    const { client } = await download(scene);
    const at = performance.now();
    scene.running.relay.cut();
    const seen = await see(client, SOON_MS, at);
    const says = await scene.says(at);
    return { ...seen, says, worksMs: await works(scene.endpoint, RECOVERY_MS, at) };
  },
};

const channelFrozen = {
  id: 'channel-frozen',
  text: 'the channel carries nothing any more in mid-download, and nobody is told',
  slow: true,
  lacks: hasHalves,
  options: { relay: true },
  async make(scene) {
    const { client } = await download(scene);
    const at = performance.now();
    scene.running.relay.freeze();
    const [seen, worksMs] = await Promise.all([
      see(client, PATIENCE_MS, at),
      works(scene.endpoint, PATIENCE_MS, at),
    ]);
    return { ...seen, says: await scene.says(at), worksMs };
  },
};

export const CHANNEL = [channelCut, channelFrozen];
