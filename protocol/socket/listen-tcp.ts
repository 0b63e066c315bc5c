import net from 'node:net';
import { type Handles, handles, type TcpHandle } from './handles.js';

/** libuv's flag for a `::` that leaves 0.0.0.0 alone. */
const UV_TCP_IPV6ONLY = 1;

/** The internal Node interface of a TCP handle before it listens. Methods return 0 or a negative errno. */
interface BindableHandle extends TcpHandle {
  bind(ip: string, port: number, flags: number): number;
  bind6(ip: string, port: number, flags: number): number;
}

/** The internal Node interface of a handle that listens. */
interface ListeningHandle {
  readStart?(): number;
  readStop?(): number;
}

export interface TcpEndpoint {
  /** A literal address. */
  host: string;
  /** 0: the OS chooses one. */
  port: number;
  /** Connections that the OS holds until they are accepted. */
  backlog: number;
}

/**
 * Has a server listen, as server.listen() does: 'listening' or 'error' tell the outcome. An IPv6 address is of its
 * own family only.
 *
 * So that accepting can be paused, the handle is told that it can be read: libuv then starts and stops waiting for
 * connections as it does for bytes. Where that cannot be had, the server listens all the same.
 * @param internals null to use Node's public interface only
 */
export function listenOnTcp(
  server: net.Server,
  { host, port, backlog }: TcpEndpoint,
  internals: Handles | null = handles,
): void {
  const handle = internals?.makeTcp() as BindableHandle | undefined;
  if (handle && bind(handle, host, port) && handle.open(handle.fd) === 0) server.listen(handle, backlog);
  else {
    // The public way fails as well, if there is a reason, and says why as node:net does.
    handle?.close(() => {});
    server.listen({ host, port, ipv6Only: true, backlog });
  }
}

/** Has those who connect wait in the OS's queue until resumeAccepting(). Where that cannot be had, nothing changes. */
export function pauseAccepting(server: net.Server): void {
  const handle = handleOf(server);
  // libuv stops only what it was told to start.
  handle?.readStart?.();
  handle?.readStop?.();
}

export function resumeAccepting(server: net.Server): void {
  handleOf(server)?.readStart?.();
}

function bind(handle: BindableHandle, host: string, port: number): boolean {
  const status = net.isIPv6(host) ? handle.bind6(host, port, UV_TCP_IPV6ONLY) : handle.bind(host, port, 0);
  return status === 0;
}

function handleOf(server: net.Server): ListeningHandle | null | undefined {
  return (server as { _handle?: ListeningHandle | null })._handle;
}
