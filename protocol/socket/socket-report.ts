/** How the sockets of this process work. */
export interface SocketReport {
  /** libuv's handles; or node:net, which is slower, where this Node's handles cannot be used. */
  kind: 'handles' | 'node:net';
  /** Why it is not the handles. */
  reason?: string;
  /** Whether the OS resets what the process carries, should it die: otherwise cut data may look complete. */
  resetsAtDeath: boolean;
}

/** One line for people. */
export function describeSockets({ kind, reason, resetsAtDeath }: SocketReport): string {
  const what = kind === 'handles' ? "libuv's handles" : `node:net, which is slower (handles: ${reason})`;
  const death = resetsAtDeath
    ? ''
    : '; the C library cannot be called here: should this process die, what it carries may look complete';
  return `${what}${death}`;
}
