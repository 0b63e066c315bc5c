import { type ForwardRule, type Note, setNote } from '../rule/forward-rule.js';
import type { Forward, ForwardOrigin } from './forward.js';

/** Who wants forwards. */
export interface Holder {
  readonly origin: ForwardOrigin;
  /** Who it is in the guest, for people; undefined for the user of the host. */
  readonly publisher: string | undefined;
}

/** The configuration: as long as the host runs. */
export const STATIC: Holder = { origin: 'static', publisher: undefined };

/** The user, while the host runs: kept over a restart. */
export const RUNTIME: Holder = { origin: 'runtime', publisher: undefined };

/** Why a forward is not listened on. */
export interface Failure {
  readonly message: string;
  /** The errno, where there is one. */
  readonly code: string | undefined;
}

/**
 * One forward that one holder wants, and what has become of it. Holders make claims and read them; it is the
 * ForwardTable alone that calls the methods which change one.
 */
export class Claim {
  /** As it was asked for, perhaps with host port 0. */
  readonly asked: ForwardRule;
  readonly holder: Holder;
  readonly since = new Date();
  #forward: Forward | undefined;
  #failure: Failure | undefined;
  #refusal: Failure | undefined;
  #withdrawn = false;
  #hidden = false;

  /** @param refusal why it is not even tried */
  constructor(asked: ForwardRule, holder: Holder, refusal?: Failure) {
    this.asked = asked;
    this.holder = holder;
    this.#refusal = refusal;
  }

  /** With the port that was chosen, while it is listened on. */
  get rule(): ForwardRule {
    return this.#forward?.rule ?? this.asked;
  }

  /** While it is listened on. */
  get forward(): Forward | undefined {
    return this.#forward;
  }

  /** `failed`: it cannot be listened on at present. `refused`: it is not even tried. */
  get state(): 'listening' | 'failed' | 'refused' {
    if (this.#forward) return 'listening';
    return this.#refusal ? 'refused' : 'failed';
  }

  /** Why it is not listened on. */
  get reason(): Failure {
    const otherwise = this.#withdrawn ? 'it was removed meanwhile' : 'the host is stopping';
    return this.#refusal ?? this.#failure ?? { message: otherwise, code: undefined };
  }

  /** Whether it is to be listened on, and is not. */
  get due(): boolean {
    return !this.#forward && !this.#refusal && !this.#withdrawn;
  }

  /** Whether people are told that it is not listened on: it has been tried, or is not even tried. */
  get missing(): boolean {
    return !this.#forward && !this.#hidden && (this.#refusal ?? this.#failure) !== undefined;
  }

  /** The user has removed it: nobody is told of it until it is asked for anew. */
  get hidden(): boolean {
    return this.#hidden;
  }

  // ---- for the table only ----------------------------------------------------------------------------

  granted(forward: Forward): void {
    this.#forward = forward;
    this.#failure = undefined;
  }

  failed(failure: Failure): void {
    this.#failure = failure;
  }

  /** It is not wanted any more: nothing need be listened on for it. */
  withdraw(): void {
    this.#withdrawn = true;
    this.#forward = undefined;
  }

  removedByUser(): void {
    this.#hidden = true;
    this.#refusal = { message: 'it was removed on the host', code: 'ECANCELED' };
    this.#forward = undefined;
  }

  /** The newest note is what people are shown; nothing else about a forward changes with it. */
  annotate(note: Note): void {
    // The note of a forward that the user has exposed, too, is the user's.
    const published = this.#forward?.origin === 'published' ? [this.#forward.rule] : [];
    for (const rule of [this.asked, ...published]) setNote(rule, note);
  }
}
