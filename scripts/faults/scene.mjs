// One forwarder with its destination, in a folder of its own, while a fault is made.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as passing } from 'node:timers/promises';
import { works } from './client.mjs';
import { FORWARDERS, lastEnding } from './forwarders.mjs';
import { freeEndpoint } from './ports.mjs';

/** How long (ms) a forwarder may take until it works at all. */
const START_MS = 15_000;

/** A program's log may come a little later than the client's end. */
const LOG_MS = 150;

const STORY_MS = 2;
const WARN = 40;

/** Those that run now. */
const open = new Set();

/** Ends all that runs. */
export function closeAll() {
  return Promise.all([...open].map((scene) => scene.close()));
}

/** The server behind the forwarder, in a process of its own. */
class Destination {
  #child;

  constructor(endpoint) {
    this.endpoint = endpoint;
  }

  async start() {
    const { NODE_OPTIONS: _, ...env } = process.env;
    this.#child = fork(new URL('destination.mjs', import.meta.url), [String(this.endpoint.port)], { env });
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error(`the destination does not listen on port ${this.endpoint.port}`);
    });
    ended.catch(() => {});
    await Promise.race([once(this.#child, 'message'), ended]);
  }

  /** SIGKILL. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  freeze() {
    this.#child.kill('SIGSTOP');
  }

  thaw() {
    this.#child.kill('SIGCONT');
  }

  /** Resets every download. */
  reset() {
    this.#child.send({ command: 'reset' });
  }

  /** What it knows of a connection; undefined where that never came. */
  async story(id) {
    const answer = new Promise((resolve) => {
      const hear = (message) => {
        if (message.id !== id) return;
        this.#child.off('message', hear);
        resolve(message.story);
      };
      this.#child.on('message', hear);
    });
    this.#child.send({ command: 'story', id });
    return answer;
  }
}

export class Scene {
  name;
  /** What the fault asks for: options of FORWARDERS' start(), and what it needs itself. */
  options;
  destination;
  /** What FORWARDERS have started. */
  running;
  #folder;
  #stories = 0;

  constructor(name) {
    this.name = name;
    this.#folder = mkdtempSync(join(tmpdir(), 'portferry-faults-'));
    open.add(this);
  }

  /** A forwarder for a fault, which works already unless the fault is in how it begins. */
  static async open(name, { options = {}, began = true }) {
    const scene = new Scene(name);
    try {
      scene.options = typeof options === 'function' ? await options(scene.#folder) : options;
      scene.destination = new Destination(await freeEndpoint());
      await scene.destination.start();
      scene.running = await FORWARDERS[name].start({
        ...{ folder: scene.#folder, target: scene.destination.endpoint, wrap: [], options: {} },
        ...scene.options,
      });
      if (began) await scene.begin();
      return scene;
    } catch (thrown) {
      await scene.close();
      throw thrown;
    }
  }

  get endpoint() {
    return this.running.endpoint;
  }

  /** Starts both halves, and waits until they work. */
  async begin() {
    for (const half of this.running.halves) await half.start();
    if ((await works(this.endpoint, START_MS)) === undefined)
      throw new Error(`${this.name} does not work: ${this.since(0).at(-1) ?? 'it says nothing'}`);
  }

  newStory() {
    return `story-${this.#stories++}`;
  }

  /** Resolves to the destination's story when the connection has ended there; to what there is after `deadlineMs`. */
  async storyEnd(id, deadlineMs) {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      const story = await this.destination.story(id);
      if (story?.outcome !== undefined || performance.now() > deadline) return story;
      await passing(STORY_MS);
    }
  }

  /** Resolves when so much has come there. */
  async storyBytes(id, bytes, deadlineMs) {
    const deadline = performance.now() + deadlineMs;
    while (((await this.destination.story(id))?.bytes ?? 0) < bytes && performance.now() < deadline)
      await passing(STORY_MS);
  }

  /** All that the programs have written since then, each with the half that said it. */
  since(time) {
    const { host, guest } = this.running;
    return Object.entries({ host, guest }).flatMap(([name, half]) =>
      (half?.since(time) ?? []).map((line) => `${name}: ${line}`),
    );
  }

  /** Where somebody finds the reason: what was logged since then, or what portferry has recorded. */
  async says(time) {
    await passing(LOG_MS);
    const lines = this.since(time).flatMap(readable);
    if (this.name !== 'portferry' || lines.length > 0) return lines;
    const { termination, message } = (await lastEnding(this.running)) ?? {};
    return termination ? [`portferry tail: ${termination}, ${message}`] : [];
  }

  async close() {
    open.delete(this);
    const { halves = [], relay } = this.running ?? {};
    for (const half of halves) await half.stop();
    relay?.close();
    await this.destination?.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A line as a person reads it; of portferry's JSON the warnings only, as lines about single faults. */
function readable(line) {
  const [, name, json] = /^(\w+): (\{.*)$/.exec(line) ?? [];
  if (json === undefined) return [line];
  const { level, msg } = JSON.parse(json);
  return level >= WARN ? [`${name}: ${msg}`] : [];
}
