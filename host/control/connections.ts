import type http from 'node:http';
import type net from 'node:net';
import { DeadlineQueue } from '../../protocol/deadline-queue.js';
import { LogLimiter } from '../../protocol/program/log-limiter.js';
import type { Logger } from '../../protocol/program/logger.js';

/**
 * How long (ms) a connection may have no request under way, where one whose headers are not complete does not count;
 * and how long the rest of a request may take to come.
 */
const IDLE_MS = 30_000;

/** Connections that are let in beyond the limit, to be told that the host is busy. */
const MAX_REFUSED = 8;

export interface ConnectionLimits {
  /** Connections at once: each takes a file descriptor. Default: any number. */
  maxConnections?: number;
  /** How long (ms) one may be idle, or take to send a request's body. Default: IDLE_MS. */
  idleMs?: number;
}

/**
 * Bounds the connections of an HTTP server. One that is idle too long ends. When there are as many as there may be, a
 * new one gets the place of the one that has been idle longest; while none is idle, new ones are refused.
 *
 * Nothing here is left to the server: one that is given its connections, and does not listen itself, keeps no account
 * of them. Its closeAllConnections() ends none, and its timeouts are never over.
 */
export class Connections {
  readonly #max: number;
  readonly #log: LogLimiter;
  /** Those that are served, each with its requests under way. */
  readonly #served = new Map<net.Socket, number>();
  readonly #refused = new Set<net.Socket>();
  readonly #idle: DeadlineQueue<net.Socket>;
  readonly #arriving: DeadlineQueue<http.IncomingMessage>;

  constructor(server: http.Server, logger: Logger, limits: ConnectionLimits) {
    const { maxConnections = Number.POSITIVE_INFINITY, idleMs = IDLE_MS } = limits;
    this.#max = maxConnections;
    this.#log = new LogLimiter(logger);
    this.#idle = new DeadlineQueue(idleMs, (socket) => socket.destroy());
    this.#arriving = new DeadlineQueue(idleMs, (request) => {
      if (!request.complete) request.socket.destroy();
    });
    server.on('connection', (socket: net.Socket) => this.#opened(socket));
    // Before anybody can have answered it.
    server.prependListener('request', (request, response) => this.#requested(request, response));
  }

  /** Why a request on this connection is not to be served; undefined when it is. */
  refusalOf(socket: net.Socket): string | undefined {
    if (!this.#refused.has(socket)) return undefined;
    return `the host is busy: ${this.#max} control requests are under way, and it takes no more at once; try again`;
  }

  /** Ends all of them at once. */
  close(): void {
    for (const socket of [...this.#served.keys(), ...this.#refused]) this.#end(socket);
  }

  /** It has left HTTP, and is not idle until it ends: a WebSocket. */
  hold(socket: net.Socket): void {
    this.#idle.delete(socket);
    this.#count(socket, 1);
  }

  #opened(socket: net.Socket): void {
    socket.on('close', () => this.#forget(socket));
    if (this.#served.size >= this.#max && !this.#makeWay()) {
      this.#refuse(socket);
      return;
    }
    this.#served.set(socket, 0);
    this.#idle.add(socket);
  }

  #requested(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { socket } = request;
    this.#idle.delete(socket);
    this.#arriving.add(request);
    this.#count(socket, 1);
    // An answer that never had its turn on its connection is not closed with that.
    request.once('close', () => this.#arriving.delete(request));
    response.once('close', () => {
      this.#arriving.delete(request);
      if (this.#count(socket, -1) === 0) this.#idle.add(socket);
    });
  }

  /** @returns the requests that are under way then; undefined when the connection has ended, or is refused */
  #count(socket: net.Socket, change: 1 | -1): number | undefined {
    const before = this.#served.get(socket);
    if (before === undefined) return undefined;
    this.#served.set(socket, before + change);
    return before + change;
  }

  #makeWay(): boolean {
    const longestIdle = this.#idle.first;
    if (!longestIdle) return false;
    this.#log.log(
      'warn',
      'made way',
      {},
      `there are ${this.#max} control connections, which is the limit: the one that has been idle longest ends for a new one`,
    );
    this.#end(longestIdle);
    return true;
  }

  /** Its requests are answered with the reason, as long as not too many wait for that. */
  #refuse(socket: net.Socket): void {
    this.#log.log(
      'warn',
      'refused',
      {},
      `${this.#max} control requests are under way, which is the limit: further ones are refused`,
    );
    const [longestRefused] = this.#refused;
    if (longestRefused && this.#refused.size >= MAX_REFUSED) this.#end(longestRefused);
    this.#refused.add(socket);
  }

  /** At once: its place and its descriptor are free then. */
  #end(socket: net.Socket): void {
    this.#forget(socket);
    socket.destroy();
  }

  #forget(socket: net.Socket): void {
    this.#idle.delete(socket);
    this.#served.delete(socket);
    this.#refused.delete(socket);
  }
}
