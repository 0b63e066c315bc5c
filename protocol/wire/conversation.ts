import { type LineMessage, NO_NONCE } from './line.js';

/** Why a conversation is over, or cannot be. */
export type ConversationEnd =
  /** The other end has said bye. */
  | 'bye'
  /** The other end has begun anew: its process was restarted, or it has given this conversation up. */
  | 'anew'
  /** What this end sends comes back: there is no other end. */
  | 'echo';

export interface ConversationOwner {
  /** The message is to be sent before anything that is sent later. While greeting, it may as well be left out. */
  onSend(message: LineMessage): void;
  /**
   * Both ends know of each other: from here on, what comes is of this conversation, and what is sent is read.
   * @param first whether this end counts as the one that connected
   */
  onAgreed(first: boolean): void;
  onOver(end: ConversationEnd): void;
}

/**
 * One end's part in a conversation on a line: a pure state machine, without clock and chance. The line may still
 * carry bytes of an earlier conversation, of either end, and has lost some: they are told from this one by two
 * nonces, of which each end has chosen one and heard the other. See SPEC.md, section 15.
 */
export class Conversation {
  readonly #own: string;
  readonly #owner: ConversationOwner;
  #heard = NO_NONCE;
  #state: 'greeting' | 'agreed' | 'over' = 'greeting';

  /** @param own a nonce that was never used before */
  constructor(own: string, owner: ConversationOwner) {
    this.#own = own;
    this.#owner = owner;
  }

  get state(): 'greeting' | 'agreed' | 'over' {
    return this.#state;
  }

  /** Begins, and is to be called again and again until the two ends have agreed. */
  greet(): void {
    if (this.#state === 'greeting') this.#send('hello');
  }

  handle({ kind, own, heard }: LineMessage): void {
    if (this.#state === 'over') return;
    if (own === this.#own) this.#end('echo');
    else if (this.#state === 'agreed') this.#handleAgreed(kind, own, heard);
    else if (kind === 'hello') this.#handleHello(own, heard);
  }

  /** This end leaves. */
  leave(): void {
    if (this.#state === 'agreed') this.#send('bye');
    this.#state = 'over';
  }

  #handleHello(own: string, heard: string): void {
    this.#heard = own;
    const known = heard === this.#own;
    if (known) this.#state = 'agreed';
    // Also to an end that knows this one: it agrees when it hears its own nonce.
    this.#send('hello');
    if (known) this.#owner.onAgreed(this.#own > own);
  }

  #handleAgreed(kind: LineMessage['kind'], own: string, heard: string): void {
    if (own !== this.#heard) {
      if (kind === 'hello') this.#end('anew');
    } else if (kind === 'bye' && heard === this.#own) this.#end('bye');
  }

  #send(kind: LineMessage['kind']): void {
    this.#owner.onSend({ kind, own: this.#own, heard: this.#heard });
  }

  #end(end: ConversationEnd): void {
    this.#state = 'over';
    this.#owner.onOver(end);
  }
}
