import { EVERY_ADDRESS } from '../../protocol/wire/address.js';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { ChannelReport } from '../records/reports.js';
import { type Complaint, type Evidence, foundIn } from './evidence.js';
import { describeListeners, describeProcess } from './hops.js';

/** What can be wrong on the host, and between it and the guest. */

export function heldByAnother({
  path: { listeners, pid, forwards, asked },
}: Evidence): Complaint | undefined {
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

export function forwardFailed({ path: { forwards } }: Evidence): Complaint | undefined {
  const [forward] = forwards;
  if (!forward || forward.state === 'listening') return undefined;
  const refused = forward.state === 'refused';
  return {
    hop: 'forward',
    problem: `${forward.id} is ${refused ? 'refused' : 'not listened on'}: ${forward.error ?? 'nobody knows why'}`,
    advice: refused
      ? "the rules of the host's --allow-expose do not allow it: change them, or expose the port on the host"
      : 'it is tried again until it works; free the port or the address, or use another one',
  };
}

/** Somebody listens on a special address beside our wildcard: the kernel prefers that one. */
export function shadowed({ path: { listeners, pid, forwards } }: Evidence): Complaint | undefined {
  const [forward] = forwards;
  const others = foundIn(listeners).filter((listener) => listener.pid !== pid);
  const [other] = others.filter(({ ip }) => !EVERY_ADDRESS.includes(ip));
  if (!forward || !other) return undefined;
  const address = formatHostPort(other.ip, other.port);
  return {
    hop: 'host',
    problem: `${describeProcess(other)} listens on ${address} itself, and gets what is sent there instead of ${forward.id}`,
    advice: `stop ${describeProcess(other)}, or reach the forward by another address of this host`,
  };
}

export function channelDown({ path: { channel } }: Evidence): Complaint | undefined {
  return noChannel(channel);
}

export function noChannel(channel: ChannelReport): Complaint | undefined {
  if (channel.state === 'connected') return undefined;
  const why = channel.lastError === undefined ? '' : `: ${channel.lastError}`;
  return {
    hop: 'channel',
    problem: `there has been no channel to the guest on ${channel.address} since ${channel.since}${why}`,
    advice: 'start portferry-guest in the VM, or see why it does not reach this address',
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
