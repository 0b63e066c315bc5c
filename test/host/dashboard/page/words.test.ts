import t from 'tap';
import { type TokenPlace, takeToken } from '../../../../host/dashboard/page/token.js';
import {
  channelFacts,
  clock,
  failuresInWords,
  hostInWords,
  outcomeInWords,
  rateInWords,
  ratesInWords,
  spanInWords,
} from '../../../../host/dashboard/page/words.js';
import { reportForward } from '../../../../host/records/reports.js';
import { fakeConnection, fakeStatus } from '../../../fixtures/control-reports.js';
import { fakeForward } from '../../../fixtures/fake-forward.js';

t.test('numbers in words', async (t) => {
  t.equal(rateInWords(0.4), '–');
  t.equal(rateInWords(1536), '1.5 KiB/s');
  t.equal(ratesInWords({ toGuest: 0, toHost: 10 }), '– to the guest, 10 B/s to the host');
  t.same([0.123, 12.7, 3200, 65_000].map(spanInWords), ['0.12 ms', '13 ms', '3 s', '1 min']);
  const date = new Date(2026, 0, 2, 3, 4, 5);
  t.equal(clock(date.getTime()), '03:04:05');
  t.equal(hostInWords(fakeStatus()), 'portferry 1.2.3, pid 7');
});

t.test('what became of a connection', async (t) => {
  const { ending, ...open } = fakeConnection();
  if (!ending) throw new Error('it has ended');
  t.equal(outcomeInWords({ ...open, state: 'open' }), 'open');
  t.equal(outcomeInWords({ ...open, ending }), 'the client ended the connection');
  t.equal(
    outcomeInWords({ ...open, ending: { ...ending, message: 'it failed', code: 'EPIPE' } }),
    'it failed (EPIPE)',
  );
  t.equal(
    outcomeInWords({ ...open, ending: { ...ending, message: 'failed: EPIPE', code: 'EPIPE' } }),
    'failed: EPIPE',
  );
  const forward = reportForward(fakeForward());
  t.equal(failuresInWords(forward), '–');
  const counters = { ...forward.counters, failed: 2, empty: 1 };
  t.equal(failuresInWords({ ...forward, counters }), '2 failed, 1 empty');
});

t.test('the health of a channel', async (t) => {
  const now = Date.parse('2026-01-01T00:00:05.000Z');
  const missing = 'the peer lacks ping';
  t.same(Object.fromEntries(channelFacts({ ...fakeStatus().channel, roundTripMs: 0.3141 }, now)), {
    since: '5 s ago',
    guest: 'portferry-guest 1.2.3',
    'round trip': '0.31 ms',
    streams: '2',
    reconnects: '0',
    address: 'listen unix:/c.sock',
  });
  const { peer: _, ...down } = fakeStatus({ state: 'waiting', lastError: 'the guest went' }).channel;
  t.match(Object.fromEntries(channelFacts(down, now)), { 'last error': 'the guest went', guest: undefined });
  const plain = fakeStatus({ peer: { version: null, features: [], missing } }).channel;
  t.match(Object.fromEntries(channelFacts(plain, now)), { guest: /^vpnkit-forwarder/, upgrade: missing });
});

t.test('the token leaves the address, and is the tab’s', async (t) => {
  const kept = new Map<string, string>();
  const shown: string[] = [];
  const place = (hash: string): TokenPlace => ({
    location: { hash, pathname: '/' },
    history: { replaceState: (_data, _unused, url) => void shown.push(url) },
    sessionStorage: {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
    },
  });
  t.equal(takeToken(place('')), undefined);
  t.equal(takeToken(place('#token=abc')), 'abc');
  t.same(shown, ['/']);
  t.equal(takeToken(place('')), 'abc', 'after a reload');
  t.equal(takeToken(place('#token=def')), 'def', 'a newer one wins');
  t.equal(kept.get('token'), 'def');
});
