import type { KeeperState } from '../../protocol/channel/channel-keeper.js';
import { VERSION } from '../../protocol/program/version.js';
import type { PeerIdentity } from '../../protocol/wire/handshake.js';
import { differenceInFeatures } from '../../protocol/wire/missing-features.js';
import type { ChannelReport, PeerReport } from './reports.js';

/** The channel as the control API shows it. */
export function reportChannel(state: KeeperState): ChannelReport {
  const { peer, lastError, lastErrorAt, roundTripMs, since, mode, address, reconnects, streams } = state;
  return {
    state: state.state,
    address,
    mode,
    since: since.toISOString(),
    reconnects,
    streams,
    ...(peer && { peer: reportPeer(peer) }),
    ...(lastError !== undefined && { lastError }),
    ...(lastErrorAt && { lastErrorAt: lastErrorAt.toISOString() }),
    ...(roundTripMs !== undefined && { roundTripMs }),
  };
}

function reportPeer(peer: PeerIdentity): PeerReport {
  const missing = differenceInFeatures(peer, VERSION);
  const { version = null, features } = peer;
  return { version, features: [...features], ...(missing !== undefined && { missing }) };
}
