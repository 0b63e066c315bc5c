import { EVERY_ADDRESS, LOCALHOST } from '../../protocol/wire/address.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { ChannelReport } from '../records/reports.js';
import { type Complaint, type Evidence, foundIn, ipsOf } from './evidence.js';
import { describeListeners, describeProcess } from './hops.js';
import { localNetworkAdvice } from './local-network.js';
import { otherForwarder } from './other-forwarder.js';

/** What can be wrong on the host, and between it and the guest. */

export function heldByAnother({ path }: Evidence): Complaint | undefined {
  const { listeners, pid, forwards, asked } = path;
  if (otherForwarder(path)) return undefined;
  if (forwards.some(({ state }) => state === 'listening')) return undefined;
  const others = foundIn(listeners).filter((listener) => listener.pid !== pid);
  const [first] = others;
  if (!first) return undefined;
  const [forward] = forwards;
  return {
    hop: 'host',
    problem: `${asked} on the host is not portferry's: ${describeListeners(others)}`,
    advice: forward
      ? `stop ${describeProcess(first)}, and portferry takes the port by itself; or use another port`
      : `stop ${describeProcess(first)} if it is not the one you want to reach, and expose the port with 'portferry expose'`,
  };
}

export function forwardFailed({ path }: Evidence): Complaint | undefined {
  const [forward] = path.forwards;
  if (!forward || forward.state === 'listening' || otherForwarder(path)) return undefined;
  const refused = forward.state === 'refused';
  return {
    hop: 'forward',
    problem: `${forward.id} is ${refused ? 'refused' : 'not listened on'}: ${forward.error ?? 'nobody knows why'}`,
    advice: refused
      ? "the rules of the host's --allow-expose do not allow it: change them, or expose the port on the host"
      : 'it is tried again until it works; free the port or the address, or use another one',
  };
}

/**
 * Somebody listens on a special address beside our wildcard: the kernel prefers that one. Or on the other address of
 * localhost: who asks for that name gets whichever is tried first.
 */
export function shadowed({ path: { listeners, pid, forwards } }: Evidence): Complaint | undefined {
  const [forward] = forwards;
  const others = foundIn(listeners).filter(
    (listener) => listener.pid !== pid && !EVERY_ADDRESS.includes(listener.ip),
  );
  if (forward?.state !== 'listening') return undefined;
  const ours = ipsOf(forward);
  const local = [...LOCALHOST, ...EVERY_ADDRESS];
  const other = others.find(
    ({ ip }) =>
      ours.includes(ip.includes(':') ? '::' : '0.0.0.0') ||
      (LOCALHOST.includes(ip) && ours.some((own) => local.includes(own))),
  );
  if (!other) return undefined;
  const address = formatHostPort(other.ip, other.port);
  return {
    hop: 'host',
    problem: `${describeProcess(other)} listens on ${address} itself, and gets what is sent there instead of ${forward.id}`,
    advice: `stop ${describeProcess(other)}, or reach the forward by another address of this host`,
  };
}

export function channelDown({ path: { channel }, facts }: Evidence): Complaint | undefined {
  return noChannel(channel, facts?.platform);
}

/** @param platform this host's, if it is known */
export function noChannel(channel: ChannelReport, platform?: NodeJS.Platform): Complaint | undefined {
  if (channel.state === 'connected') return undefined;
  const { address, lastError } = channel;
  const why = lastError === undefined ? '' : `: ${lastError}`;
  return {
    hop: 'channel',
    problem: `there has been no channel to the guest on ${address} since ${channel.since}${why}`,
    advice:
      (platform && localNetworkAdvice(platform, address, lastError)) ??
      'start portferry-guest in the VM, or see why it does not reach this address',
  };
}

/** The connection that was tried waits to be taken, with all others that come. */
export function crowded({ probe, facts }: Evidence): Complaint | undefined {
  if (!facts || facts.clients < facts.maxClients || probe?.outcome !== 'unknown' || probe.record)
    return undefined;
  return {
    hop: 'host',
    problem: `${facts.clients} clients are being served, more would need more file descriptors than the host may have, and new ones wait`,
    advice: 'raise the limit of the host (ulimit -n) and restart it, or have clients close their connections',
  };
}

export function silentGuest({ path: { guest } }: Evidence): Complaint | undefined {
  if (!('unseen' in guest) || !guest.silent) return undefined;
  return {
    hop: 'guest',
    problem: `the guest is connected and does not answer: ${guest.unseen}`,
    advice: 'it may be stopped or overloaded: look at the VM, and restart portferry-guest there',
  };
}
