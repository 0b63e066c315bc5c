import { FEATURES, type Feature, type PeerIdentity } from './handshake.js';

/** What it is like without each feature that only one end has. */
const WITHOUT: Readonly<Record<Feature, string>> = {
  'open-result': 'a failed connection is not told from one that ends at once',
  reset: 'a reset reaches the other end as a clean end',
  ping: 'a frozen peer is found out only when another one comes',
  source: 'servers cannot be told who their clients are',
  goaway: 'stopping does not wait for connections in use',
  'early-data': 'each connection waits a round trip longer',
};

/**
 * What one end of two portferries cannot do and the other can, and which half to upgrade; undefined when both can
 * do the same. A plain peer is no older portferry: it has no features by its nature.
 * @param own this end's version
 */
export function differenceInFeatures(
  { version, features, unknown }: PeerIdentity,
  own: string,
): string | undefined {
  if (version === undefined) return undefined;
  const missing = FEATURES.filter((name) => !features.has(name)).map((name) => `${name} (${WITHOUT[name]})`);
  if (missing.length > 0)
    return `the peer, portferry ${version}, lacks ${missing.join(', ')}: upgrade it to ${own}, which this end is`;
  if (unknown)
    return `this end, portferry ${own}, lacks ${unknown.join(', ')}: upgrade it to ${version}, which the peer is`;
  return undefined;
}
