// What faults have in common: what is under way when they come, and what is seen then.
import { Client } from '../client.mjs';
import { ENDLESS, send } from '../pattern.mjs';

/** How long (ms) a client's end is waited for where it should come at once. */
export const SOON_MS = 10_000;

/** How long (ms) a forwarder may take until it works again. */
export const RECOVERY_MS = 20_000;

/** A fault comes when so much has passed, and more is under way. */
const MUCH = 1024 * 1024;

/** Why a forwarder has no such fault; undefined where it has. */
export const hasHalves = (name) => (name === 'direct' ? 'has no halves' : undefined);

/** A download that is under way. */
export async function download(scene, count = ENDLESS) {
  const client = new Client(scene.endpoint, `download - ${count}`);
  await client.until(() => client.bytes > MUCH, SOON_MS);
  return { client };
}

/** An upload that is under way. */
export async function upload(scene) {
  const id = scene.newStory();
  const client = new Client(scene.endpoint, `upload ${id}`);
  send(client.socket, ENDLESS);
  await scene.storyBytes(id, MUCH, SOON_MS);
  return { client, id };
}

/** What a client sees of its end, within `deadlineMs`: so many bytes were to come. */
export async function see(client, deadlineMs, from, count = ENDLESS) {
  const outcome = await client.end(deadlineMs);
  const ms = (client.endedAt ?? performance.now()) - from;
  client.close();
  return { seen: judge(outcome, client, count), ms, bytes: client.bytes };
}

/** The same of the destination, to which an upload goes. */
export async function seeAtServer(scene, { client, id }, deadlineMs, from, count = ENDLESS) {
  const story = await scene.storyEnd(id, deadlineMs);
  const ms = (story?.at ?? performance.timeOrigin + performance.now()) - performance.timeOrigin - from;
  client.close();
  return {
    seen: judge(story?.outcome, story ?? { bytes: 0, right: true }, count),
    ms,
    bytes: story?.bytes ?? 0,
  };
}

/** In the words of the report. */
function judge(outcome, { bytes, right }, count) {
  if (!right) return 'WRONG BYTES';
  if (outcome === undefined) return 'nothing';
  if (outcome === 'end') return bytes === count ? 'whole' : bytes === 0 ? 'empty end' : 'SHORT';
  if (outcome === 'ECONNREFUSED') return 'refused';
  return 'reset';
}
