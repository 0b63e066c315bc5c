import { parseSpecMatcher } from '../../../host/rule/forward-matcher.js';
import { type ForwardRule, formatRule } from '../../../host/rule/forward-rule.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { OperationError } from '../../../protocol/errors.js';
import { Violation, type World } from '../world/world.js';
import type { ControlHost } from './ends.js';

/** The user of the host: what is exposed by hand, and kept over restarts. */
export class User {
  readonly #world: World;
  /** What has been exposed, and not removed, as far as the user has been told. By formatRule. */
  wanted = new Map<string, ForwardRule>();
  /** The state file. */
  disk: readonly ForwardRule[] = [];
  /** Commands that have not come back. */
  asking = 0;
  /** Counts the hosts that have been started: who was asked before says nothing any more. */
  #host = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** Another host is there: what is kept is what there is. */
  onRestart(): void {
    const kept = this.disk.map((rule) => formatRule(rule));
    if (this.asking === 0 && kept.sort().join() !== [...this.wanted.keys()].sort().join())
      throw new Violation(`the user wants ${[...this.wanted.keys()].join()}, and kept is ${kept.join()}`);
    this.#host++;
    this.asking = 0;
    this.wanted = new Map(this.disk.map((rule) => [formatRule(rule), rule]));
  }

  expose(host: ControlHost, specs: readonly string[]): void {
    this.#world.note(`   the user exposes ${specs.join(', ')}`);
    const rules = specs.flatMap((spec) => parseSpec(spec));
    this.#ask(host.table.expose(rules), (forwards) => {
      for (const { rule } of forwards) this.wanted.set(formatRule(rule), rule);
    });
  }

  unexpose(host: ControlHost, spec: string): void {
    this.#world.note(`   the user unexposes ${spec}`);
    const matcher = parseSpecMatcher(spec);
    this.#ask(host.table.unexpose([matcher]), () => {
      for (const [key, rule] of this.wanted) if (matcher.matches(rule)) this.wanted.delete(key);
    });
  }

  #ask<T>(answer: Promise<T>, onDone: (outcome: T) => void): void {
    const host = this.#host;
    this.asking++;
    void answer.then(
      (outcome) => {
        if (host !== this.#host) return;
        this.asking--;
        onDone(outcome);
      },
      (thrown: unknown) => {
        if (!(thrown instanceof OperationError) || thrown.message === '') throw thrown;
        this.#world.note(`   the user is told: ${thrown.message}`);
        if (host === this.#host) this.asking--;
      },
    );
  }
}
