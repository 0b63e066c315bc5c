import type { ConnectionRecord } from '../records/connection-record.js';
import type { Records } from '../records/records.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { Conversation } from './conversation.js';
import { Flow } from './flow.js';
import type { PacketSink } from './packet-sink.js';

/** Puts what the connections of some forwards carry into a capture, from now until release(). */
export class ConnectionTaps {
  readonly #records: Records;
  readonly #matches: (rule: ForwardRule) => boolean;
  readonly #sink: PacketSink;
  readonly #shown = new Map<ConnectionRecord, Conversation | Flow>();
  readonly #stopObserving: () => void;

  /** @param matches whether a forward is one of those that are meant */
  constructor(records: Records, matches: (rule: ForwardRule) => boolean, sink: PacketSink) {
    this.#records = records;
    this.#matches = matches;
    this.#sink = sink;
    for (const record of this.#records.open) this.#add(record, true);
    this.#stopObserving = records.observe({
      onOpened: (record) => this.#add(record, false),
      onDialled: (record) => this.#shown.get(record)?.connected(),
      onEnded: (record, ending) => {
        this.#shown.get(record)?.ended(ending);
        this.#shown.delete(record);
      },
    });
  }

  /** What has been kept back is added; nothing after that. */
  flush(): void {
    for (const shown of this.#shown.values()) shown.release();
  }

  release(): void {
    this.#stopObserving();
    for (const [record, shown] of this.#shown) record.removeTap(shown);
    this.#shown.clear();
  }

  #add(record: ConnectionRecord, joined: boolean): void {
    const { rule } = record.forward;
    if (!this.#matches(rule)) return;
    const shown =
      rule.proto === 'udp'
        ? new Flow(record, this.#sink, joined)
        : new Conversation(record, this.#sink, joined);
    this.#shown.set(record, shown);
    record.addTap(shown);
  }
}
