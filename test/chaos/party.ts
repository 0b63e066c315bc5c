import type net from 'node:net';
import { deliverAtClose, isReset, resetAtClose } from '../fixtures/connection-state.js';
import { BLOCK_BYTES, firstWrong, patternOf } from './pattern.js';
import type { Plan } from './plan.js';

/** How one end of a connection fared. */
export interface Story {
  readonly id: number;
  readonly kind: string;
  readonly role: 'client' | 'server';
  /** The client's port, by which the host's records name it; undefined before it has one. */
  readonly port?: number | undefined;
  /** Bytes after the header. */
  readonly sent: number;
  readonly received: number;
  /** `whole`, `reset by us`, or the error's code. */
  readonly outcome: string;
  /** How long it took (ms). */
  readonly ms: number;
  /** What must never be: a wrong byte, or a clean end before the last one. */
  readonly violation?: string;
}

/** One end of a connection: sends its bytes, and holds each that comes against what it must be. */
export class Party {
  readonly plan: Plan;
  readonly socket: net.Socket;
  /** When something last went on, as performance.now() has it. */
  progressAt = performance.now();
  readonly openedAt = performance.now();
  readonly #role: 'client' | 'server';
  readonly #onDone: (story: Story) => void;
  #port: number | undefined;
  #sent = 0;
  #received = 0;
  #ended = false;
  #ending = false;
  #reset = false;
  #error: string | undefined;
  #violation: string | undefined;

  constructor(socket: net.Socket, plan: Plan, role: 'client' | 'server', onDone: (story: Story) => void) {
    this.plan = plan;
    this.socket = socket;
    this.#role = role;
    this.#onDone = onDone;
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('drain', () => this.#pump());
    socket.on('end', () => this.#finish());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? error.message;
    });
    socket.on('close', () => this.#onDone(this.story()));
  }

  /** Sends what may be sent; what has come already is `first`. */
  start(first: Buffer = Buffer.alloc(0)): void {
    if (this.#role === 'client') this.#port = this.socket.localPort;
    if (first.length > 0) this.#take(first);
    this.#pump();
  }

  story(): Story {
    const { id, kind } = this.plan;
    const whole = this.#ended && this.#received === this.#expected && this.#sent === this.#total;
    const outcome = this.#reset
      ? 'reset by us'
      : whole
        ? 'whole'
        : (this.#error ?? (this.socket.destroyed ? 'closed' : 'open'));
    const ms = Math.round(performance.now() - this.openedAt);
    const parts = {
      id,
      kind,
      role: this.#role,
      port: this.#port,
      sent: this.#sent,
      received: this.#received,
      outcome,
      ms,
    };
    return this.#violation === undefined ? parts : { ...parts, violation: this.#violation };
  }

  get #total(): number {
    return this.#role === 'client' ? this.plan.up : this.plan.down;
  }

  get #expected(): number {
    return this.#role === 'client' ? this.plan.down : this.plan.up;
  }

  /** Two for each connection: one a direction. */
  #stream(outwards: boolean): number {
    return 2 * this.plan.id + (outwards === (this.#role === 'client') ? 0 : 1);
  }

  /** How many bytes may have been sent by now: of a request's answer none before the request is there. */
  get #allowed(): number {
    const { rounds } = this.plan;
    if (rounds === 0) return this.#total;
    const done = this.#expected === 0 ? rounds : Math.floor(this.#received / (this.#expected / rounds));
    const may = this.#role === 'client' ? done + 1 : done;
    return may >= rounds ? this.#total : may * (this.#total / rounds);
  }

  #take(bytes: Buffer): void {
    this.progressAt = performance.now();
    const wrong = firstWrong(this.#stream(false), this.#received, bytes);
    if (wrong >= 0) this.#violate(`byte ${wrong} of ${this.#expected} is wrong`);
    this.#received += bytes.length;
    if (this.#received > this.#expected) this.#violate(`more than the ${this.#expected} bytes there are`);
    if (this.#resets()) return;
    this.#pump();
    const { restMs } = this.plan;
    if (restMs === 0) return;
    this.socket.pause();
    setTimeout(() => this.socket.resume(), restMs);
  }

  #finish(): void {
    this.progressAt = performance.now();
    if (isReset(this.socket)) {
      this.#error ??= 'ECONNRESET';
      this.socket.destroy();
      return;
    }
    this.#ended = true;
    if (this.#received < this.#expected)
      this.#violate(`a clean end after ${this.#received} of ${this.#expected} bytes`);
    this.#pump();
  }

  #pump(): void {
    const { socket } = this;
    const allowed = this.#allowed;
    while (this.#sent < allowed && socket.writable && !socket.writableNeedDrain) {
      const bytes = patternOf(this.#stream(true), this.#sent, Math.min(BLOCK_BYTES, allowed - this.#sent));
      this.#sent += bytes.length;
      this.progressAt = performance.now();
      socket.write(bytes);
      if (this.#resets()) return;
    }
    const waits = this.#role === 'client' && this.plan.endsLate && this.#received < this.#expected;
    if (this.#sent === this.#total && !this.#ending && !waits) this.#endOwn();
  }

  /** Ends its own direction when the kernel has all of it. */
  #endOwn(): void {
    this.#ending = true;
    this.socket.write('', () => {
      deliverAtClose(this.socket);
      this.socket.end();
    });
  }

  #resets(): boolean {
    const { resetBy, resetAt } = this.plan;
    if (resetBy !== this.#role || this.#reset || this.#sent + this.#received < resetAt) return this.#reset;
    this.#reset = true;
    // Not resetAndDestroy(), which ends the connection in good order first.
    resetAtClose(this.socket);
    this.socket.destroy();
    return true;
  }

  #violate(what: string): void {
    this.#violation ??= what;
  }
}
