import net from 'node:net';

const loopback = new net.BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an IP address in literal form can only be reached from this machine. */
export function isLoopback(ip: string): boolean {
  const family = net.isIPv4(ip) ? 'ipv4' : 'ipv6';
  return !ip.includes('%') && loopback.check(ip, family);
}
