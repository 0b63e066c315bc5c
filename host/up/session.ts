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

export interface UpOptions {
  /** Exposed all or none. */
  specs: readonly string[];
  demo: boolean;
  /** How host and guest are called, given the socket paths between them. */
  makeHost(channelPath: string, controlPath: string): ChildProgram;
  makeGuest(channelPath: string): ChildProgram;
  stdout: Writable;
  /** Gets each line that host or guest write to stderr. */
  log(line: string): void;
  stop: AbortSignal;
  /** How long (ms) host and guest may take to find each other. */
  connectDeadlineMs?: number;
}

/**
 * Runs host and guest on this machine, joined by a unix socket in a folder of their own, until `stop`.
 * @throws OperationError when one of them ends by itself, or a forward cannot be had
 */
export async function runUp(options: UpOptions): Promise<void> {
  const demo = options.demo ? await startDemoServer() : undefined;
  const folder = makeTemporaryFolder();
  const channelPath = join(folder.path, 'channel.sock');
  const controlPath = join(folder.path, 'control.sock');
  const over = new AbortController();
  const children: Child[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const start = (program: ChildProgram): void => {
        const child = new Child({ ...program, leashed: true }, options.log);
        children.push(child);
        child.ended.then((cause) => reject(new OperationError(cause)));
      };
      start(options.makeHost(channelPath, controlPath));
      const stop = AbortSignal.any([options.stop, over.signal]);
      const startGuest = (): void => start(options.makeGuest(channelPath));
      present({ ...options, stop }, new ControlClient(controlPath), startGuest, demo).then(resolve, reject);
    });
  } finally {
    over.abort();
    await Promise.all(children.map((child) => child.stop(STOP_DEADLINE_MS)));
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
  const { stdout, stop, specs, connectDeadlineMs = CONNECT_DEADLINE_MS } = options;
  const deadline = performance.now() + connectDeadlineMs;
  // One after the other: a guest that finds nobody yet would warn of it.
  if (!(await waitForStatus(client, stop, deadline, () => true))) return;
  startGuest();
  const status = await waitForStatus(client, stop, deadline, ({ channel }) => channel.state === 'connected');
  if (!status) return;
  if (specs.length > 0)
    for (const forward of await client.expose(specs)) stdout.write(`${formatForward(forward)}\n`);
  if (demo) await presentDemo(client, demo, status, stdout);
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
    try {
      const status = await client.status();
      if (isReached(status)) return status;
    } catch (thrown) {
      problem = messageOf(thrown);
    }
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
