import { constants } from 'node:os';
import { HandleSocket } from './handle-socket.js';
import type { Handles } from './handles.js';
import type { RawSocket } from './raw-socket.js';
import { systemError } from './system-error.js';
import type { VsockCalls } from './vsock-calls.js';

// Linux: bits/socket.h, linux/vm_sockets.h, sys/epoll.h; the same on every machine that Node has builds for.
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLOUT = 4;
/** `struct epoll_event` is 12 bytes on x86 and 16 elsewhere; what it says begins it. */
const EPOLL_EVENT_BYTES = 16;

/** `struct sockaddr_vm`: u16 family, u16 zero, u32 port, u32 CID, four zero bytes. */
const ADDRESS_BYTES = 16;
const PORT_AT = 4;
const CID_AT = 8;

/** Every CID of this machine, to listen on. */
const ANY_CID = 0xffff_ffff;

/** Connections that wait to be accepted: what node:net asks for. */
const BACKLOG = 511;

/** One end of a vsock connection. */
export interface VsockEnd {
  /** The machine's number, as its hypervisor has given it. */
  cid: number;
  port: number;
}

/** What AF_VSOCK needs, since Node does not know it. */
export interface VsockMeans {
  handles: Handles;
  calls: VsockCalls;
}

/**
 * Connects without waiting in the kernel, which does so for 2 s where nobody answers.
 * @param signal gives up when aborted
 * @returns a socket that is paused and without a handler
 * @throws a system error, or an error that says that it was cancelled
 */
export async function connectVsock(
  means: VsockMeans,
  to: VsockEnd,
  signal?: AbortSignal,
): Promise<RawSocket> {
  const { handles, calls } = means;
  const fd = makeSocket(calls);
  try {
    const target = `vsock:${to.cid}:${to.port}`;
    if (calls.connect(fd, encode(to), ADDRESS_BYTES) !== 0) {
      const errno = calls.errno();
      if (errno !== constants.errno.EINPROGRESS) throw systemError(-errno, 'connect', target);
      await connected(means, fd, signal);
    }
    const failed = errorOf(calls, fd);
    if (failed !== 0) throw systemError(-failed, 'connect', target);
    const handle = handles.makePipe();
    check(handle.open(fd), 'open');
    return new HandleSocket(handles, handle, false);
  } catch (thrown) {
    calls.close(fd);
    throw thrown;
  }
}

/** What is told of a listening socket. */
export interface VsockListenerOwner {
  /** @param cid of the machine that the connection came from */
  onSocket(socket: RawSocket, cid: number): void;
  /** A connection could not be accepted; listening goes on. */
  onError(error: Error): void;
}

/**
 * Listens on a vsock port, for every machine that can reach it.
 * @returns what ends listening; accepted sockets stay
 * @throws a system error
 */
export function listenVsock(
  { handles, calls }: VsockMeans,
  port: number,
  owner: VsockListenerOwner,
): () => void {
  const fd = makeSocket(calls);
  const listener = handles.makePipeListener();
  try {
    check(calls.bind(fd, encode({ cid: ANY_CID, port }), ADDRESS_BYTES) === 0 ? 0 : -calls.errno(), 'bind');
    check(listener.open(fd), 'open');
  } catch (thrown) {
    calls.close(fd);
    throw thrown;
  }
  listener.onconnection = (status, accepted) => {
    if (status !== 0) owner.onError(systemError(status, 'accept'));
    else owner.onSocket(new HandleSocket(handles, accepted, false), cidOfPeer(calls, accepted.fd));
  };
  const status = listener.listen(BACKLOG);
  if (status !== 0) {
    listener.close();
    throw systemError(status, 'listen');
  }
  return () => listener.close();
}

function makeSocket(calls: VsockCalls): number {
  const fd = calls.socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw systemError(-calls.errno(), 'socket');
  return fd;
}

/**
 * Waits until a connection stands or has failed. libuv watches for that only where it has called connect() itself;
 * so the socket is put into an epoll set, which has something to read then, and libuv watches the set. Reading it
 * fails, as of every epoll set, and that is all that is wanted.
 */
function connected(
  { handles, calls }: VsockMeans,
  fd: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const epoll = calls.epollCreate(EPOLL_CLOEXEC);
  if (epoll < 0) throw systemError(-calls.errno(), 'epoll_create1');
  const watch = handles.makePipe();
  watch.open(epoll);
  const event = Buffer.alloc(EPOLL_EVENT_BYTES);
  new Uint32Array(event.buffer, event.byteOffset, 1)[0] = EPOLLOUT;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => settle(() => reject(new Error('it was cancelled')));
    const settle = (how: () => void): void => {
      signal?.removeEventListener('abort', onAbort);
      watch.close(how);
    };
    signal?.addEventListener('abort', onAbort);
    watch.onread = () => {
      watch.readStop();
      settle(resolve);
      return undefined;
    };
    const added = calls.epollControl(epoll, EPOLL_CTL_ADD, fd, event);
    const status = added === 0 ? watch.readStart() : -calls.errno();
    if (status !== 0) settle(() => reject(systemError(status, 'epoll_ctl')));
  });
}

/** The errno that a connection attempt has ended with; 0 where it stands. */
function errorOf(calls: VsockCalls, fd: number): number {
  const value = Buffer.alloc(4);
  check(
    calls.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, int(value.length)) === 0 ? 0 : -calls.errno(),
    'getsockopt',
  );
  return ints(value)[0] as number;
}

function cidOfPeer(calls: VsockCalls, fd: number): number {
  const address = Buffer.alloc(ADDRESS_BYTES);
  // One that has gone already has no address: it is nobody's.
  return calls.getpeername(fd, address, int(ADDRESS_BYTES)) === 0
    ? (ints(address)[CID_AT / 4] as number)
    : ANY_CID;
}

function encode({ cid, port }: VsockEnd): Buffer {
  const address = Buffer.alloc(ADDRESS_BYTES);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_VSOCK;
  ints(address)[PORT_AT / 4] = port;
  ints(address)[CID_AT / 4] = cid;
  return address;
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  ints(bytes)[0] = value;
  return bytes;
}

/** In the machine's own byte order. */
function ints(bytes: Buffer): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function check(status: number, syscall: string): void {
  if (status !== 0) throw systemError(status, syscall);
}
