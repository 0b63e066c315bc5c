import type { HostControl } from '../../../guest/publish/host-control.js';
import type { HostLease } from '../../../guest/publish/host-lease.js';
import { ExposeError } from '../../../guest/publish/lease-connection.js';
import type { VpnkitPort } from '../../../protocol/services/control.js';
import { describePort, isMeant } from '../../../protocol/services/vpnkit-port.js';
import { Violation, type World } from '../world/world.js';

/** What one that publishes does: it either names all of its forwards at once, or asks for each of them. */
export type PublisherKind = 'lists' | 'asks';

/** A forward that is being asked for. */
interface Attempt {
  readonly forward: VpnkitPort;
  readonly abort: AbortController;
  /** Its publisher has said that it is not wanted any more. */
  withdrawn: boolean;
  /** Something has been done to the host, or to what is between: it may be out of reach. */
  disturbed: boolean;
}

/** The status of what cannot be asked of the host. */
const UNAVAILABLE = 503;

/** Somebody in the guest who publishes, and what it believes to have on the host. */
export class Publisher {
  readonly name: string;
  readonly kind: PublisherKind;
  readonly lease: HostLease;
  readonly #world: World;
  /** What it wants, and has been told that it has where it asks for each. */
  held: readonly VpnkitPort[] = [];
  used = false;
  closed = false;
  /** Requests that are not answered. */
  asking = 0;
  readonly attempts = new Set<Attempt>();

  constructor(world: World, control: HostControl, name: string, kind: PublisherKind) {
    this.#world = world;
    this.name = name;
    this.kind = kind;
    this.lease = control.openLease(name);
  }

  publish(forwards: readonly VpnkitPort[]): void {
    this.#note(`publishes ${forwards.map(describePort).join(', ')}`);
    this.used = true;
    this.held = forwards;
    this.lease.publish(forwards);
  }

  expose(forward: VpnkitPort, disturbed: boolean): void {
    this.#note(`exposes ${describePort(forward)}`);
    this.used = true;
    const attempt = { forward, abort: new AbortController(), withdrawn: false, disturbed };
    this.attempts.add(attempt);
    this.#ask(
      this.lease.expose(forward, attempt.abort.signal),
      (exposed) => {
        this.attempts.delete(attempt);
        if (attempt.withdrawn) throw new Violation(`${this.name} was given what it had given up`);
        if (!this.held.some((other) => isMeant(exposed, other))) this.held = [...this.held, exposed];
      },
      (error) => {
        this.attempts.delete(attempt);
        if (/not wanted/.test(error.message) && !attempt.withdrawn && !this.closed)
          throw new Violation(`${this.name} was told that it does not want ${describePort(forward)}`);
        if (error.status === UNAVAILABLE && !attempt.disturbed && !attempt.withdrawn)
          throw new Violation(
            `${this.name} could not reach a host to which nothing was done: ${error.message}`,
          );
      },
    );
  }

  /** It does not wait any more for something that it has asked for. */
  giveUp(): void {
    for (const attempt of this.attempts) {
      this.#note(`gives up ${describePort(attempt.forward)}`);
      attempt.withdrawn = true;
      attempt.abort.abort();
      return;
    }
  }

  unexpose(forward: VpnkitPort): void {
    this.#note(`unexposes ${describePort(forward)}`);
    this.held = this.held.filter((other) => !isMeant(forward, other));
    for (const attempt of this.attempts) if (isMeant(forward, attempt.forward)) attempt.withdrawn = true;
    this.#ask(
      this.lease.unexpose(forward),
      () => {},
      () => {},
    );
  }

  /** Asks what the host listens for. */
  list(onListed: (forwards: VpnkitPort[]) => void): void {
    this.#ask(this.lease.list(), onListed, (error) => {
      throw error;
    });
  }

  close(): void {
    this.#note('goes');
    this.closed = true;
    this.held = [];
    for (const attempt of this.attempts) attempt.withdrawn = true;
    this.lease.close();
  }

  #ask<T>(answer: Promise<T>, onDone: (outcome: T) => void, onFailed: (error: ExposeError) => void): void {
    this.asking++;
    void answer.then(
      (outcome) => {
        this.asking--;
        onDone(outcome);
      },
      (thrown: unknown) => {
        this.asking--;
        if (!(thrown instanceof ExposeError) || thrown.message === '') throw thrown;
        this.#note(`is told: ${thrown.message}`);
        onFailed(thrown);
      },
    );
  }

  #note(what: string): void {
    this.#world.note(`   ${this.name} ${what}`);
  }
}
