import { UsageError } from '../../protocol/errors.js';
import { type ChosenType, EVENT_TYPES } from '../records/event.js';

/** Forwards that one subscriber can name: more would not fit into the line of a request. */
export const MAX_NAMED_FORWARDS = 100;

/** The parameters that there are. */
const PARAMETERS = ['types', 'forward', 'failures', 'traffic'];

/** What a subscriber wants to hear of. */
export interface EventFilter {
  readonly types: ReadonlySet<ChosenType>;
  /** Ids of forwards; undefined: all. */
  readonly forwards: ReadonlySet<string> | undefined;
  /** Of what has ended, only what is not fine. */
  readonly failuresOnly: boolean;
  readonly traffic: boolean;
}

/**
 * Reads `types=ended,opened&forward=ID&failures=1&traffic=1`, of which all may be missing, and `forward` may be there
 * more than once. With `failures=1` and no types it is only `ended` that comes.
 * @throws UsageError
 */
export function parseEventFilter(query: URLSearchParams): EventFilter {
  for (const name of query.keys())
    if (!PARAMETERS.includes(name))
      throw new UsageError(
        `there is no parameter ${JSON.stringify(name)}: known are ${PARAMETERS.join(', ')}`,
      );
  const forwards = query.getAll('forward');
  if (forwards.length > MAX_NAMED_FORWARDS)
    throw new UsageError(
      `${forwards.length} forwards are named, and ${MAX_NAMED_FORWARDS} can be: name fewer, or none to hear of all`,
    );
  const failuresOnly = readSwitch(query, 'failures');
  return {
    types: readTypes(query.get('types') ?? (failuresOnly ? 'ended' : EVENT_TYPES.join())),
    forwards: forwards.length === 0 ? undefined : new Set(forwards),
    failuresOnly,
    traffic: readSwitch(query, 'traffic'),
  };
}

function readTypes(text: string): ReadonlySet<ChosenType> {
  return new Set(
    text.split(',').map((name) => {
      const type = EVENT_TYPES.find((known) => known === name);
      if (type) return type;
      throw new UsageError(
        `there are no events of the type ${JSON.stringify(name)}: one of ${EVENT_TYPES.join(', ')}`,
      );
    }),
  );
}

function readSwitch(query: URLSearchParams, name: string): boolean {
  const value = query.get(name) ?? '0';
  if (value === '1' || value === '0') return value === '1';
  throw new UsageError(`${name} must be 1 or 0, not ${JSON.stringify(value)}`);
}
