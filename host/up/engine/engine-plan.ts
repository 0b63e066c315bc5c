import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pidNamespace } from '../../../protocol/program/temporary-folder.js';
import type { DockerCall } from './docker-command.js';

/** Everything by which a container is made; it lies in the folder of its `up`, for the process that enters it. */
export interface EnginePlan {
  docker: DockerCall;
  image: string;
  /** The engine's socket, on the engine's machine. */
  engineSocket: string;
  /** The guest in one file, on this machine. */
  bundle: string;
  guestArgs: readonly string[];
  /** The folder of the `up` that the container belongs to: a container whose folder is gone is a leftover. */
  folder: string;
}

/** Labels of each container: whose it is. */
export const FOLDER_LABEL = 'portferry.folder';
export const MACHINE_LABEL = 'portferry.machine';

/** In the folder of an `up`: the plan, the container that is ready to be started, and why it could not be. */
const PLAN_FILE = 'engine.json';
const READY_FILE = 'container';
const FAILURE_FILE = 'failure';

/** Which processes an `up` is counted among: an engine may serve several machines, each with folders of its own. */
export function thisMachine(): string {
  return `${hostname()} ${pidNamespace()}`.trim();
}

export function planPath(folder: string): string {
  return join(folder, PLAN_FILE);
}

export function writePlan(plan: EnginePlan): void {
  writeFileSync(planPath(plan.folder), JSON.stringify(plan));
}

/** @throws when there is none: its `up` has ended */
export function readPlan(path: string): EnginePlan {
  return JSON.parse(readFileSync(path, 'utf8')) as EnginePlan;
}

/** Remembers a container that only has to be started. */
export function setReady(folder: string, container: string): void {
  writeFileSync(join(folder, READY_FILE), container);
}

/** The container that only has to be started, which is then nobody else's; undefined when there is none. */
export function takeReady(folder: string): string | undefined {
  const container = readIfThere(join(folder, READY_FILE));
  rmSync(join(folder, READY_FILE), { force: true });
  return container;
}

/** Remembers why the container could not be entered, in one sentence. */
export function setFailure(folder: string, sentence: string): void {
  writeFileSync(join(folder, FAILURE_FILE), sentence);
}

/** Why the container could not be entered; undefined where that is not known. */
export function readFailure(folder: string): string | undefined {
  return readIfThere(join(folder, FAILURE_FILE));
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
