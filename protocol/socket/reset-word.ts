/**
 * What becomes of a connection that is reset, for log lines. A unix socket knows no RST. On Linux its peer gets
 * ECONNRESET all the same if it has sent bytes that were not read yet; otherwise, and on macOS, it sees an end, as
 * if what it got were all there is.
 */
export function resetWord(proto: 'tcp' | 'udp' | 'unix'): string {
  return proto === 'unix' ? 'closed (a unix socket knows no reset: it may look like a clean end)' : 'reset';
}
