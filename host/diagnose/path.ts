import { UsageError } from '../../protocol/errors.js';
import { SHORT_ID_LENGTH } from '../../protocol/services/container-name.js';
import type { Finding, ListenerReport, WayReport } from '../../protocol/services/inspect.js';
import { MAX_PORT } from '../../protocol/wire/destination.js';
import type { ChannelReport, ForwardReport } from '../records/reports.js';
import type { GuestInspector, WayQuery } from './guest-inspector.js';
import { findListeners } from './host-listeners.js';

/** A port of the host, a unix socket there, a container by its name, or just one forward. */
export type PathQuestion =
  | { readonly kind: 'port'; readonly proto: 'tcp' | 'udp'; readonly port: number }
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'forward'; readonly id: string; readonly destination: string };

/** `GET /v1/path`: the whole way of a port, from the host's listener to the process that serves it. */
export interface PathReport {
  /** As it was asked for: `tcp 8080`, or a container's name. */
  asked: string;
  /** What listens on the host's port; absent where it is not known which port that is. */
  listeners?: Finding<ListenerReport[]>;
  /** The host's own process, by which its listeners are told from others'. */
  pid: number;
  /** The forwards of this port, or of this container: the way shown is that of the first one. */
  forwards: ForwardReport[];
  channel: ChannelReport;
  /** What the guest sees. `silent`: it does not answer at all. */
  guest: Finding<WayReport> & { readonly silent?: boolean };
}

/** What is asked on the way. */
export interface PathSources {
  forwards(): readonly ForwardReport[];
  channel(): ChannelReport;
  inspector: Pick<GuestInspector, 'look'>;
  /** Default: asks this machine. */
  findListeners?: typeof findListeners;
}

/** A container's name or id, as engines take them. */
const NAME = /^[a-zA-Z0-9][\w.-]*$/;

/**
 * Reads what a user asks about: `8080`, `8080/udp`, `unix:/tmp/db.sock`, or the name of a container.
 * @throws UsageError
 */
export function parsePathQuestion(text: string): PathQuestion {
  const [, digits, proto = 'tcp'] = /^(\d+)(?:\/(tcp|udp))?$/.exec(text) ?? [];
  if (digits !== undefined) {
    const port = Number(digits);
    if (port >= 1 && port <= MAX_PORT) return { kind: 'port', proto: proto as 'tcp' | 'udp', port };
    throw new UsageError(`there is no port ${digits}: ports go from 1 to ${MAX_PORT}`);
  }
  if (text.startsWith('unix:/')) return { kind: 'path', path: text.slice('unix:'.length) };
  if (NAME.test(text)) return { kind: 'name', name: text };
  throw new UsageError(
    `"${text}" is neither a port, such as 8080 or 53/udp, nor a unix socket, such as unix:/tmp/db.sock, nor the name of a container`,
  );
}

/** `tcp 8080`, or a name. */
export function formatPathQuestion(question: PathQuestion): string {
  switch (question.kind) {
    case 'port':
      return `${question.proto} ${question.port}`;
    case 'path':
      return `unix ${question.path}`;
    case 'name':
      return question.name;
    case 'forward':
      return question.id;
  }
}

/** Looks at every hop. Never throws: what cannot be seen says why. */
export async function tracePath(question: PathQuestion, sources: PathSources): Promise<PathReport> {
  const forwards = sources.forwards().filter((forward) => isAbout(forward, question));
  const [forward] = forwards;
  const end = hostEndOf(question, forward);
  const look = sources.findListeners ?? findListeners;
  const [listeners, guest] = await Promise.all([
    end && look(end.proto, end.port),
    askGuest(question, forward, sources.inspector),
  ]);
  return {
    asked: formatPathQuestion(question),
    ...(listeners && { listeners }),
    pid: process.pid,
    forwards,
    channel: sources.channel(),
    guest,
  };
}

function isAbout(forward: ForwardReport, question: PathQuestion): boolean {
  switch (question.kind) {
    case 'path':
      return forward.out_path === question.path;
    case 'port':
      return forward.proto === question.proto && forward.out_port === question.port;
    case 'name':
      return isForContainer(forward, question.name);
    case 'forward':
      return forward.id === question.id && forward.destination === question.destination;
  }
}

/** @param name a container's name, or as much of its id as is asked for */
function isForContainer(
  { container, container_id: id = '', annotation = '' }: ForwardReport,
  name: string,
): boolean {
  if (container !== undefined) return container === name || isIdOf(name, id);
  // An older guest tells it by its annotation alone.
  return annotation.startsWith(`container ${name} (`) || annotation.includes(`(${name}`);
}

/** A name may look like the beginning of an id: what engines show has so many digits, and guests tell no more. */
function isIdOf(name: string, id: string): boolean {
  return id.length >= SHORT_ID_LENGTH && name.startsWith(id.slice(0, SHORT_ID_LENGTH));
}

function hostEndOf(
  question: PathQuestion,
  forward: ForwardReport | undefined,
): { proto: 'tcp' | 'udp'; port: number } | undefined {
  if (question.kind === 'port') return question;
  const { proto, out_port: port } = forward ?? {};
  return port === undefined || proto === undefined || proto === 'unix' ? undefined : { proto, port };
}

async function askGuest(
  question: PathQuestion,
  forward: ForwardReport | undefined,
  inspector: PathSources['inspector'],
): Promise<PathReport['guest']> {
  if (forward?.in_path !== undefined)
    return { unseen: `the forward leads to a unix socket in the guest, ${forward.in_path}` };
  const query = queryOf(question, forward);
  return query ? inspector.look(query) : { unseen: 'no forward says where it would lead in the guest' };
}

/** The forward says where the way leads; without one it is looked for what an engine publishes there. */
function queryOf(question: PathQuestion, forward: ForwardReport | undefined): WayQuery | undefined {
  const { proto, in_ip: ip, in_port: port } = forward ?? {};
  if (proto !== undefined && ip !== undefined && port !== undefined) return { proto, ip, port: String(port) };
  if (question.kind === 'name') return { container: question.name };
  if (question.kind === 'port') return { proto: question.proto, published: String(question.port) };
  return undefined;
}
