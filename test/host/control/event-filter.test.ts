import t from 'tap';
import { parseEventFilter } from '../../../host/control/event-filter.js';

const parse = (query: string) => parseEventFilter(new URLSearchParams(query));

t.test('what a subscriber asks for', async (t) => {
  t.same(parse(''), {
    types: new Set(['opened', 'ended', 'channel', 'forward']),
    ...{ forwards: undefined, failuresOnly: false, traffic: false },
  });
  t.same(parse('failures=1'), {
    types: new Set(['ended']),
    ...{ forwards: undefined, failuresOnly: true, traffic: false },
  });
  t.same(parse('types=channel,ended&failures=1&traffic=1&forward=tcp+localhost:80&forward=b'), {
    types: new Set(['channel', 'ended']),
    forwards: new Set(['tcp localhost:80', 'b']),
    ...{ failuresOnly: true, traffic: true },
  });
});

t.test('what nobody can ask for', async (t) => {
  const cases: [query: string, message: RegExp][] = [
    ['typs=ended', /^there is no parameter "typs": known are types, forward, failures, traffic$/],
    ['types=ended,over', /^there are no events of the type "over": one of opened, ended, channel, forward$/],
    ['types=', /type ""/],
    ['failures=yes', /^failures must be 1 or 0, not "yes"$/],
    ['traffic=', /^traffic must be 1 or 0, not ""$/],
    ['forward=x&'.repeat(101), /^101 forwards are named, and 100 can be/],
  ];
  for (const [query, message] of cases)
    t.throws(() => parse(query), { name: 'UsageError', message }, query.slice(0, 30));
});
