import t from 'tap';
import { decodeIdentity, FEATURES } from '../../../protocol/wire/handshake.js';
import { differenceInFeatures } from '../../../protocol/wire/missing-features.js';

/** What is said of a peer that announces these features. */
function difference(version: string, features: readonly unknown[]): string | undefined {
  const said = Buffer.from(JSON.stringify({ portferry: 1, version, features }));
  return differenceInFeatures(decodeIdentity(said), '2.0.0');
}

t.test('an older peer, a newer one, and one that is no portferry', async (t) => {
  t.equal(difference('1.0.0', FEATURES), undefined);
  t.equal(
    difference(
      '1.0.0',
      FEATURES.filter((name) => name !== 'goaway'),
    ),
    'the peer, portferry 1.0.0, lacks goaway (stopping does not wait for connections in use): upgrade it to 2.0.0, which this end is',
  );
  t.equal(
    difference('3.0.0', [...FEATURES, 'telepathy', 7, 'Not a name']),
    'this end, portferry 2.0.0, lacks telepathy: upgrade it to 3.0.0, which the peer is',
  );
  t.match(difference('3.0.0', ['telepathy']), /^the peer, portferry 3.0.0, lacks open-result/);
  t.equal(differenceInFeatures(decodeIdentity(Buffer.alloc(0)), '2.0.0'), undefined);
});
