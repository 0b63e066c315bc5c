import fc from 'fast-check';
import t, { type Test } from 'tap';
import { SHARED_WINDOW_BYTES } from '../../protocol/sharing.js';
import {
  INITIAL_WINDOW_BYTES,
  MAX_WINDOW_BYTES,
  MIN_WINDOW_BYTES,
  ReceiveWindow,
  SendWindow,
  WINDOW_BUDGET_BYTES,
  WINDOW_GROWTH_MS,
  WindowBudget,
} from '../../protocol/window.js';
import { EARLY_DATA_BYTES } from '../../protocol/wire/extension.js';

const LONG = 10 * WINDOW_GROWTH_MS;

t.test('SendWindow: nothing before the first allowance, then what was allowed', (t) => {
  const window = new SendWindow(0);
  t.equal(window.available, 0);
  t.equal(window.allow(100), true);
  t.equal(window.available, 100);
  window.spend(40);
  t.equal(window.available, 60);
  t.equal(window.sent, 40);
  t.equal(window.allow(100), true, 'the same again is no fault');
  t.equal(window.available, 60);
  t.equal(window.allow(99), false);
  t.equal(window.allowed, 100, 'a smaller one changes nothing');
  t.equal(window.allow(Number.MAX_SAFE_INTEGER), true);
  t.equal(window.available, Number.MAX_SAFE_INTEGER - 40);
  t.end();
});

t.test('SendWindow: early data is an allowance like one that was received', (t) => {
  const window = new SendWindow(EARLY_DATA_BYTES);
  t.equal(window.available, EARLY_DATA_BYTES);
  t.equal(window.allow(EARLY_DATA_BYTES - 1), false, 'also the first one may not be smaller');
  t.equal(window.allowed, EARLY_DATA_BYTES);
  window.spend(EARLY_DATA_BYTES);
  t.equal(window.available, 0);
  t.equal(window.allow(EARLY_DATA_BYTES), true);
  t.equal(window.available, 0, 'it is a count from the beginning, early data included');
  t.equal(window.allow(EARLY_DATA_BYTES + 1), true);
  t.equal(window.available, 1);
  t.end();
});

for (const early of [0, 2])
  t.test(
    `SendWindow: every order of small allowances and sends, ${early} early, against plain numbers`,
    (t) => {
      /** Each step allows 0..3 or spends 1; 5^6 sequences. */
      for (let code = 0; code < 5 ** 6; code++) {
        const window = new SendWindow(early);
        let allowed = early;
        let sent = 0;
        for (let step = 0, rest = code; step < 6; step++, rest = Math.floor(rest / 5)) {
          const action = rest % 5;
          if (action === 4) {
            if (sent < allowed) {
              window.spend(1);
              sent++;
            }
          } else if (window.allow(action) !== action >= allowed) t.fail(`sequence ${code}, step ${step}`);
          else allowed = Math.max(allowed, action);
          if (window.allowed !== allowed || window.sent !== sent || window.available !== allowed - sent)
            t.fail(`sequence ${code}, step ${step}`);
        }
      }
      t.end();
    },
  );

t.test('WindowBudget: gives what is wanted, and never more than a sixteenth of what is left', (t) => {
  const budget = new WindowBudget(1600);
  t.equal(budget.take(50), 50);
  t.equal(budget.take(1000), 96, 'a sixteenth of 1550');
  t.equal(budget.free, 1454);
  budget.give(146);
  t.equal(budget.free, 1600);
  const spent = new WindowBudget(15);
  t.equal(spent.take(1), 0);
  t.equal(new WindowBudget().free, WINDOW_BUDGET_BYTES);
  t.end();
});

t.test('ReceiveWindow: nothing may come before the first grant', (t) => {
  const window = new ReceiveWindow(new WindowBudget(), 0);
  t.equal(window.allowed, 0);
  t.equal(window.receive(1), false);
  t.equal(window.receive(0), true);
  t.equal(window.received, 0, 'what exceeds is not accounted for');
  t.equal(window.grant(0), INITIAL_WINDOW_BYTES);
  t.equal(window.receive(INITIAL_WINDOW_BYTES + 1), false);
  t.equal(window.receive(INITIAL_WINDOW_BYTES), true);
  t.equal(window.receive(1), false);
  t.equal(window.received, INITIAL_WINDOW_BYTES);
  t.equal(window.waiting, INITIAL_WINDOW_BYTES);
  t.end();
});

t.test('ReceiveWindow: credit comes from what was consumed, when less than half is left', (t) => {
  const window = new ReceiveWindow(new WindowBudget(), 0);
  t.equal(window.due, true, 'the first grant is due at once');
  window.grant(0);
  window.receive(INITIAL_WINDOW_BYTES);
  t.equal(window.due, false, 'received is not consumed');
  window.consume(INITIAL_WINDOW_BYTES / 2);
  t.equal(window.due, false, 'half is left');
  window.consume(1);
  t.equal(window.due, true);
  t.equal(window.waiting, INITIAL_WINDOW_BYTES / 2 - 1);
  t.equal(window.grant(LONG), INITIAL_WINDOW_BYTES + INITIAL_WINDOW_BYTES / 2 + 1);
  t.equal(window.due, false);
  t.end();
});

t.test(
  'ReceiveWindow: early data may come at once, up to its last byte, and is credited as any other',
  (t) => {
    const budget = new WindowBudget();
    const window = new ReceiveWindow(budget, EARLY_DATA_BYTES);
    t.equal(window.allowed, EARLY_DATA_BYTES);
    t.equal(window.size, EARLY_DATA_BYTES);
    t.equal(window.due, false, 'no first grant');
    t.equal(window.receive(EARLY_DATA_BYTES + 1), false);
    t.equal(window.received, 0);
    t.equal(window.receive(EARLY_DATA_BYTES), true);
    t.equal(window.receive(1), false);
    t.equal(budget.free, WINDOW_BUDGET_BYTES, 'it is the minimum of every stream');
    window.consume(EARLY_DATA_BYTES / 2);
    t.equal(window.due, false, 'half is left');
    window.consume(1);
    t.equal(window.due, true);
    t.equal(window.grant(LONG), EARLY_DATA_BYTES + EARLY_DATA_BYTES / 2 + 1);
    t.equal(window.due, false);
    window.release();
    t.equal(budget.free, WINDOW_BUDGET_BYTES);
    t.end();
  },
);

t.test('ReceiveWindow: a grant that was not due takes nothing back', (t) => {
  const window = new ReceiveWindow(new WindowBudget(), EARLY_DATA_BYTES);
  t.equal(window.grant(LONG), EARLY_DATA_BYTES);
  window.receive(10);
  t.equal(window.grant(3 * LONG), EARLY_DATA_BYTES);
  window.release();
  t.equal(window.allowed, EARLY_DATA_BYTES);
  t.end();
});

/** Receives and consumes all that is allowed, and grants again. */
function useUp(window: ReceiveWindow, now: number): void {
  const part = window.allowed - window.received;
  window.receive(part);
  window.consume(part);
  window.grant(now);
}

for (const [name, early, first] of [
  ['a first grant', 0, INITIAL_WINDOW_BYTES],
  ['early data', EARLY_DATA_BYTES, EARLY_DATA_BYTES],
] as const) {
  const begin = (t: Test): ReceiveWindow => {
    const window = new ReceiveWindow(new WindowBudget(), early);
    if (early > 0) useUp(window, 0);
    else window.grant(0);
    t.equal(window.size, first, `${name} is not fast, however young the clock`);
    return window;
  };

  t.test(`ReceiveWindow: after ${name} it doubles while it is used up fast, up to its maximum`, (t) => {
    const window = begin(t);
    const sizes: number[] = [];
    for (let now = 1; now < 12; now++) {
      useUp(window, now);
      sizes.push(window.size);
    }
    const doubled: number[] = [];
    for (let size = 2 * first; size < MAX_WINDOW_BYTES; size *= 2) doubled.push(size);
    t.same(sizes.slice(0, doubled.length), doubled);
    t.equal(sizes[doubled.length], MAX_WINDOW_BYTES);
    t.equal(sizes.at(-1), MAX_WINDOW_BYTES);
    t.end();
  });

  t.test(`ReceiveWindow: after ${name} it does not grow when its use took its time`, (t) => {
    const window = begin(t);
    for (const [now, size] of [
      [WINDOW_GROWTH_MS, first],
      [2 * WINDOW_GROWTH_MS - 1, 2 * first],
      [3 * WINDOW_GROWTH_MS, 2 * first],
    ] as const) {
      useUp(window, now);
      t.equal(window.size, size, `at ${now} ms`);
    }
    t.end();
  });

  t.test(`ReceiveWindow: after ${name} it returns all it took, once`, (t) => {
    const budget = new WindowBudget();
    const window = new ReceiveWindow(budget, early);
    window.grant(0);
    useUp(window, 1);
    t.equal(window.size, 2 * first);
    t.equal(budget.free, WINDOW_BUDGET_BYTES - 2 * first + MIN_WINDOW_BYTES);
    window.release();
    t.equal(budget.free, WINDOW_BUDGET_BYTES);
    window.release();
    t.equal(budget.free, WINDOW_BUDGET_BYTES);
    t.end();
  });
}

t.test('ReceiveWindow: a spent budget leaves every stream its minimum, which is its early data', (t) => {
  for (const early of [0, EARLY_DATA_BYTES]) {
    const budget = new WindowBudget(0);
    const window = new ReceiveWindow(budget, early);
    t.equal(window.size, MIN_WINDOW_BYTES);
    t.equal(window.grant(0), MIN_WINDOW_BYTES);
    window.receive(MIN_WINDOW_BYTES);
    window.consume(MIN_WINDOW_BYTES);
    t.equal(window.grant(1), 2 * MIN_WINDOW_BYTES);
    t.equal(budget.free, 0);
    window.release();
    t.equal(budget.free, 0);
  }
  t.end();
});

t.test('many windows of one budget: random use keeps every promise', (t) => {
  const action = fc.record({
    window: fc.nat(5),
    what: fc.constantFrom('receive', 'consume', 'grant', 'release'),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    ms: fc.nat(2 * WINDOW_GROWTH_MS),
  });
  fc.assert(
    fc.property(fc.nat(1024 * 1024), fc.array(action, { maxLength: 200 }), (bytes, actions) => {
      const budget = new WindowBudget(bytes);
      const windows = Array.from(
        { length: 6 },
        (_, index) => new ReceiveWindow(budget, index % 2 === 0 ? 0 : EARLY_DATA_BYTES),
      );
      const released = new Set<ReceiveWindow>();
      let now = 0;
      for (const { window: index, what, share, ms } of actions) {
        const window = windows[index];
        if (!window || released.has(window)) continue;
        now += ms;
        const before = window.allowed;
        if (what === 'receive')
          window.receive(Math.floor(share * (window.allowed - window.received))) || t.fail('refused');
        else if (what === 'consume') window.consume(Math.floor(share * window.waiting));
        else if (what === 'grant') {
          const consumed = window.received - window.waiting;
          if (window.grant(now) < before) t.fail('the allowance shrank');
          if (window.allowed < consumed + MIN_WINDOW_BYTES) t.fail('less than the minimum');
          if (window.due) t.fail('due right after a grant');
        } else {
          window.release();
          released.add(window);
        }
        const held = windows.reduce((sum, one) => sum + one.size - MIN_WINDOW_BYTES, 0);
        if (budget.free + held !== bytes) t.fail('bytes of the budget are lost or made');
        if (window.size > MAX_WINDOW_BYTES) t.fail('beyond its maximum');
        if (window.waiting > window.size && !released.has(window)) t.fail('more waits than the window holds');
      }
      for (const window of windows) window.release();
      return budget.free === bytes;
    }),
  );
  t.end();
});

t.test(
  'ReceiveWindow: while the channel is shared, it opens no further than the cap, and shrinks nothing',
  (t) => {
    const budget = new WindowBudget();
    const window = new ReceiveWindow(budget, 0);
    window.grant(1000);
    for (let now = 1001; window.size < MAX_WINDOW_BYTES; now++) {
      window.receive(window.allowed - window.received);
      window.consume(window.waiting);
      window.grant(now);
    }
    const { allowed } = window;
    budget.cap = SHARED_WINDOW_BYTES;
    t.equal(window.grant(2000), allowed, 'what was allowed stays allowed');
    window.receive(allowed - window.received);
    window.consume(window.waiting - SHARED_WINDOW_BYTES / 2);
    t.equal(window.due, false, 'half a cap is left');
    window.consume(1);
    t.equal(window.due, true);
    const { size } = window;
    t.equal(window.grant(2001), window.received - window.waiting + SHARED_WINDOW_BYTES);
    t.equal(window.size, size, 'it does not grow meanwhile');
    budget.cap = MAX_WINDOW_BYTES;
    t.equal(window.grant(3000), window.received - window.waiting + size, 'and opens again afterwards');
    t.end();
  },
);
