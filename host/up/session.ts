import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, OperationError } from '../../protocol/errors.js';
import { Child, type ChildProgram } from '../../protocol/program/child.js';
import { makeTemporaryFolder } from '../../protocol/program/temporary-folder.js';
import { formatForward } from '../cli/output.js';
import { ControlClient } from '../control/client.js';
import type { ForwardReport, StatusReport } from '../records/reports.js';
import { type DemoServer, findConnection, formatWay, makeDemoRequest, startDemoServer } from './demo.js';

/** The port that the demonstration is shown on, if it is free. */
const DEMO_HOST_PORT = 8080;

/** A host and a guest on one machine find each other in well under a second; a busy machine may take longer. */
const CONNECT_DEADLINE_MS = 15_000;
const STATUS_INTERVAL_MS = 25;

/** A host lets what is in flight finish for 10 s; it gets a little more before it is made to end. */
const STOP_DEADLINE_MS = 12_000;

/** A guest that runs on this machine, beside the host. */
export interface LocalGuest {
  /** How it is called, given the path of the socket that the host listens on. */
  make(channelPath: string): ChildProgram;
}

/** A guest elsewhere, which the host reaches by itself. */
export interface RemoteGuest {
  /** How long (ms) host and guest may take to find each other. */
  readonly connectDeadlineMs: number;
  /**
   * Makes it ready to be reached.
   * @param folder for files; it goes after remove()
   * @returns the address at which the host connects to it
   * @throws OperationError
   */
  prepare(folder: string): Promise<string>;
  /** Why it could not be reached, for the user; `reason` is what the host knows. */
  explain(reason: string): string;
  /** Undoes that, when the host has ended. */
  remove(): Promise<void>;
}

export interface UpOptions {
  /** Exposed all or none. */
  specs: readonly string[];
  demo: boolean;
  /** Whether the host has its dashboard on. */
  dashboard?: boolean;
  /** How the host is called, given its options for the channel, and the path of its control socket. */
  makeHost(channel: readonly string[], controlPath: string): ChildProgram;
  guest: LocalGuest | RemoteGuest;
  stdout: Writable;
  /** Gets each line that host or guest write to stderr. */
  log(line: string): void;
  stop: AbortSignal;
  /** How long (ms) host and guest may take to find each other. */
  connectDeadlineMs?: number;
}

/**
 * Runs a host on this machine, and its guest here or elsewhere, until `stop`. What lies between them has a folder of
 * its own.
 * @throws OperationError when one of them ends by itself, or a forward cannot be had
 */
export async function runUp(options: UpOptions): Promise<void> {
  const { guest } = options;
  const demo = options.demo ? await startDemoServer() : undefined;
  const folder = makeTemporaryFolder();
  const channelPath = join(folder.path, 'channel.sock');
  const controlPath = join(folder.path, 'control.sock');
  const over = new AbortController();
  const children: Child[] = [];
  try {
    const channel =
      'make' in guest ? ['--listen', `unix:${channelPath}`] : ['--connect', await guest.prepare(folder.path)];
    await new Promise<void>((resolve, reject) => {
      const start = (program: ChildProgram): void => {
        const child = new Child({ ...program, leashed: true }, options.log);
        children.push(child);
        child.ended.then((cause) => reject(new OperationError(cause)));
      };
      start(options.makeHost(channel, controlPath));
      const stop = AbortSignal.any([options.stop, over.signal]);
      const startGuest = (): void => {
        if ('make' in guest) start(guest.make(channelPath));
      };
      present({ ...options, stop }, new ControlClient(controlPath), startGuest, demo).then(resolve, reject);
    });
  } catch (thrown) {
    // What was given up for that is no failure.
    if (!options.stop.aborted) throw thrown;
  } finally {
    over.abort();
    await Promise.all(children.map((child) => child.stop(STOP_DEADLINE_MS)));
    if ('remove' in guest) await guest.remove();
    await demo?.close();
    folder.remove();
  }
}

/** Resolves when it is time to stop. */
async function present(
  options: UpOptions,
  client: ControlClient,
  startGuest: () => void,
  demo: DemoServer | undefined,
): Promise<void> {
  const { stdout, stop, specs, guest } = options;
  const { connectDeadlineMs = CONNECT_DEADLINE_MS } = 'connectDeadlineMs' in guest ? guest : options;
  const deadline = performance.now() + connectDeadlineMs;
  // One after the other: a guest that finds nobody yet would warn of it.
  if (!(await waitForStatus(client, stop, deadline, () => true))) return;
  startGuest();
  const status = await waitForStatus(client, stop, deadline, ({ channel }) => {
    // The first attempt to enter tells whether it can be done at all.
    if ('prepare' in guest && channel.lastError !== undefined)
      throw new OperationError(guest.explain(channel.lastError));
    return channel.state === 'connected';
  });
  if (!status) return;
  if (specs.length > 0)
    for (const forward of await client.expose(specs)) stdout.write(`${formatForward(forward)}\n`);
  if (demo) await presentDemo(client, demo, status, stdout);
  if (options.dashboard) stdout.write(`'portferry dashboard --control ${client.path}' opens the dashboard\n`);
  stdout.write(`Ctrl-C ends it; 'portferry list --control ${client.path}' lists its forwards\n`);
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
}

/** @returns undefined when it is to stop before */
async function waitForStatus(
  client: ControlClient,
  stop: AbortSignal,
  deadline: number,
  isReached: (status: StatusReport) => boolean,
): Promise<StatusReport | undefined> {
  while (!stop.aborted) {
    let problem = 'the guest has not connected';
    const status = await client.status().catch((thrown) => {
      problem = messageOf(thrown);
    });
    if (status && isReached(status)) return status;
    if (performance.now() > deadline)
      throw new OperationError(`host and guest did not come together in time: ${problem}`);
    await delay(STATUS_INTERVAL_MS);
  }
  return undefined;
}

async function presentDemo(
  client: ControlClient,
  demo: DemoServer,
  status: StatusReport,
  stdout: Writable,
): Promise<void> {
  const { id, destination, out_port: port = 0 } = await exposeDemo(client, demo.port);
  const request = await makeDemoRequest(port);
  const connection = findConnection(await client.connections(), request);
  stdout.write(formatWay({ request, connection, forward: id, channel: status.channel.address, destination }));
  stdout.write(`\nTry it yourself:\nhttp://localhost:${port}/\n\n`);
}

async function exposeDemo(client: ControlClient, guestPort: number): Promise<ForwardReport> {
  const forwards = await client
    .expose([`${DEMO_HOST_PORT}:${guestPort}`])
    // Taken by something else: any free port will do.
    .catch(() => client.expose([`0:${guestPort}`]));
  const [forward] = forwards;
  if (forward) return forward;
  throw new OperationError('the host exposed nothing');
}
