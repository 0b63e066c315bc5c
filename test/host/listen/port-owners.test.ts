import t from 'tap';
import type { WantedAddress } from '../../../host/listen/port-owner.js';
import { PortOwners } from '../../../host/listen/port-owners.js';

const at = (port: number): WantedAddress => ({ proto: 'tcp', ip: '127.0.0.1', port });

/** Owners whose searches end when they are told to. */
class Searches {
  readonly asked: number[][] = [];
  readonly owners: PortOwners;
  #end: (() => void) | undefined;
  #begun: (() => void) | undefined;

  constructor(patienceMs?: number) {
    this.owners = new PortOwners(async (addresses) => {
      this.asked.push(addresses.map(({ port }) => port));
      this.#begun?.();
      await new Promise<void>((resolve) => {
        this.#end = resolve;
      });
      return addresses.map(({ port }) => (port === 9 ? undefined : `owner ${port}`));
    }, patienceMs);
  }

  /** Resolves when so many searches have begun. */
  async begun(count: number): Promise<void> {
    while (this.asked.length < count)
      await new Promise<void>((resolve) => {
        this.#begun = resolve;
      });
  }

  end(): void {
    this.#end?.();
  }
}

t.test('one search for all who ask at the same time, and one for those who ask meanwhile', async (t) => {
  const searches = new Searches();
  const { owners } = searches;
  const first = [owners.find(at(1), true), owners.find(at(2), false), owners.find(at(1), true)];
  await searches.begun(1);
  const second = [owners.find(at(3), true), owners.find(at(9), true)];
  searches.end();
  t.same(await Promise.all(first), ['owner 1', 'owner 2', 'owner 1']);
  await searches.begun(2);
  searches.end();
  t.same(await Promise.all(second), ['owner 3', undefined]);
  t.same(searches.asked, [
    [1, 2, 1],
    [3, 9],
  ]);
});

t.test('what was found a moment ago does for a guest, and not for the user', async (t) => {
  const searches = new Searches();
  const { owners } = searches;
  const first = owners.find(at(1), false);
  await searches.begun(1);
  searches.end();
  await first;
  t.equal(await owners.find(at(1), false), 'owner 1');
  t.equal(searches.asked.length, 1);
  const urgent = owners.find(at(1), true);
  await searches.begun(2);
  searches.end();
  t.equal(await urgent, 'owner 1');
});

t.test('guests wait for the pause after a search, and the user ends it', async (t) => {
  let now = 0;
  t.intercept(performance, 'now', { value: () => now });
  const searches = new Searches();
  const { owners } = searches;
  const first = owners.find(at(1), false);
  await searches.begun(1);
  now = 1_000_000;
  searches.end();
  await first;
  const waiting = owners.find(at(2), false);
  await new Promise(setImmediate);
  t.equal(searches.asked.length, 1, 'it would last for hours');
  const urgent = owners.find(at(3), true);
  await searches.begun(2);
  searches.end();
  t.same(await Promise.all([waiting, urgent]), ['owner 2', 'owner 3']);
});

t.test('a guest does not wait long for a name', async (t) => {
  const searches = new Searches(1);
  const { owners } = searches;
  t.equal(await owners.find(at(1), false), undefined);
  await searches.begun(1);
  searches.end();
  const urgent = owners.find(at(2), true);
  await searches.begun(2);
  searches.end();
  t.equal(await urgent, 'owner 2');
});

t.test('a host that stops waits for no search, and for no pause before one', async (t) => {
  const searches = new Searches();
  const { owners } = searches;
  const first = owners.find(at(1), false);
  await searches.begun(1);
  searches.end();
  t.equal(await first, 'owner 1');
  const waiting = owners.find(at(2), false);
  owners.close();
  t.equal(await waiting, undefined);
  t.equal(await owners.find(at(1), true), undefined, 'and looks for nobody any more');
  t.same(searches.asked, [[1]]);
});
