import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { resetAtClose } from '../fixtures/connection-state.js';
import { Party, type Story } from './party.js';
import { decodePlan, HEADER_BYTES } from './plan.js';

/** What the destination tells whoever has started it. */
export type DestinationMessage = { ready: true } | { story: Story } | { open: readonly OpenConnection[] };

/** A connection that is open at the destination. */
export interface OpenConnection {
  /** Of its plan; -1 before that has come. */
  readonly id: number;
  /** How long (ms) nothing has gone on. */
  readonly idleMs: number;
}

/**
 * The servers behind the forwards, in a process of their own that can be killed: TCP by plan, and UDP that is sent
 * back. Each connection's story goes to the process that has started this one; any message from there is answered
 * with those that are open.
 */
export async function runDestination(port: number, udpPort: number): Promise<void> {
  const tell = (message: DestinationMessage): void => {
    process.send?.(message);
  };
  process.on('disconnect', () => process.exit(0));
  const open = new Map<net.Socket, Party | undefined>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.set(socket, undefined);
    socket.on('close', () => open.delete(socket));
    resetAtClose(socket);
    serve(
      socket,
      (party) => open.set(socket, party),
      (story) => tell({ story }),
    );
  });
  server.listen({ host: '127.0.0.1', port, backlog: 1024 });
  const echo = dgram.createSocket('udp4');
  // A client that is gone is told by ICMP: no business of the others.
  echo.on('error', () => {});
  echo.on('message', (bytes, { port, address }) => echo.send(bytes, port, address, () => {}));
  echo.bind(udpPort, '127.0.0.1');
  await Promise.all([once(server, 'listening'), once(echo, 'listening')]);
  process.on('message', () => tell({ open: [...open.values()].map(describeOpen) }));
  tell({ ready: true });
}

function describeOpen(party: Party | undefined): OpenConnection {
  if (!party) return { id: -1, idleMs: 0 };
  return { id: party.plan.id, idleMs: performance.now() - party.progressAt };
}

/** Reads the header, and then does what it says. */
function serve(socket: net.Socket, onParty: (party: Party) => void, onDone: (story: Story) => void): void {
  let header = Buffer.alloc(0);
  const nobody = { id: -1, kind: 'without a header', role: 'server', sent: 0, ms: 0 } as const;
  let error = 'closed';
  const onEnd = (): void => {
    error = 'ended';
    socket.destroy();
  };
  const onError = (thrown: NodeJS.ErrnoException): void => {
    error = thrown.code ?? thrown.message;
  };
  const onClose = (): void => {
    const story = { ...nobody, received: header.length, outcome: error };
    onDone(error === 'ended' ? { ...story, violation: 'a clean end before the whole header' } : story);
  };
  const onData = (bytes: Buffer): void => {
    header = Buffer.concat([header, bytes]);
    if (header.length < HEADER_BYTES) return;
    socket.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    try {
      const plan = decodePlan(header.subarray(0, HEADER_BYTES));
      const party = new Party(socket, plan, 'server', onDone);
      onParty(party);
      party.start(header.subarray(HEADER_BYTES));
    } catch (thrown) {
      socket.on('error', () => {}).destroy();
      onDone({ ...nobody, received: header.length, outcome: 'closed', violation: String(thrown) });
    }
  };
  socket.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
}
