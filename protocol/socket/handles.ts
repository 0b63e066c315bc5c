import { getSystemErrorMap } from 'node:util';

/**
 * The internal Node interface under node:net, as far as HandleSocket uses it: what libuv's TCP and pipe
 * handles look like from JavaScript. It has looked the same in every Node since 12. Where it is missing, is
 * refused by a permission, or fails the self-test (see start.ts), NodeSocket does without.
 *
 * process.binding is deprecated, and there is no other door: a live socket of node:net has the classes of its
 * handle and requests, but how many bytes a read has brought stands in `streamBaseState` alone.
 */

/** Property of a handle under which its socket is found again in the handle's callbacks. */
export const OWNER = Symbol('portferry.owner');

/** A TCP or pipe handle. Methods return 0 or a negative errno. */
export interface StreamHandle {
  [OWNER]?: unknown;
  /** The descriptor; negative when there is none. */
  readonly fd: number;
  /** Called after each read, with the outcome in streamState; returns memory for the next read, if it changes. */
  onread: (this: StreamHandle) => Buffer | undefined;
  readStart(): number;
  readStop(): number;
  /** Reads go into this memory, which must be kept alive. To be called once; later onread gives other memory. */
  useUserBuffer(memory: Buffer): void;
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  /** @returns 1 when it was done at once */
  shutdown(request: ShutdownRequest): number;
  close(done: () => void): void;
  getpeername?(into: AddressInto): number;
  getsockname?(into: AddressInto): number;
  setNoDelay?(on: boolean): number;
  setKeepAlive?(on: boolean, seconds: number): number;
  /** Closes with RST. */
  reset?(done: () => void): number;
}

export interface AddressInto {
  address: string;
  port: number;
}

interface Request {
  oncomplete(status: number): void;
}

/** One write that the kernel has not taken entirely yet. */
export interface WriteRequest extends Request {
  owner?: unknown;
  /** Keeps the memory alive. */
  bytes?: Uint8Array;
}

export type ShutdownRequest = Request;
export type ConnectRequest = Request;

export interface TcpHandle extends StreamHandle {
  /** Takes a descriptor, which is its own from then on. */
  open(fd: number): number;
  connect(request: ConnectRequest, host: string, port: number): number;
  connect6(request: ConnectRequest, host: string, port: number): number;
}

export interface PipeHandle extends StreamHandle {
  /** Older Nodes return nothing. */
  connect(request: ConnectRequest, path: string): number | undefined;
  /** Takes a descriptor, which is its own from then on. */
  open(fd: number): number;
}

/** A pipe handle that listens on a descriptor; see vsock-socket.ts. */
export interface PipeListener {
  onconnection: (status: number, handle: StreamHandle) => void;
  /** Takes a descriptor that is bound. */
  open(fd: number): number;
  listen(backlog: number): number;
  close(): void;
}

/** What is needed to read, write and connect by handles. */
export interface Handles {
  /** Outcome of the last call, by the indexes below. */
  streamState: Int32Array;
  /** Bytes read, or a negative errno. */
  readOutcome: number;
  /** Not 0 when the kernel did not take all of the last write. */
  writeWasAsync: number;
  endOfFile: number;
  makeTcp(): TcpHandle;
  makePipe(): PipeHandle;
  makePipeListener(): PipeListener;
  WriteRequest: new () => WriteRequest;
  ShutdownRequest: new () => ShutdownRequest;
  TcpConnectRequest: new () => ConnectRequest;
  PipeConnectRequest: new () => ConnectRequest;
}

/** The interface, or null where this Node does not offer it. */
export const handles: Handles | null = findHandles();

type Binding = (name: string) => Record<string, unknown>;

/** @param binding gives a part of the interface by its name, or throws */
export function findHandles(binding: Binding = internalBinding): Handles | null {
  try {
    const stream = binding('stream_wrap');
    const tcp = binding('tcp_wrap');
    const pipe = binding('pipe_wrap');
    const Tcp = tcp['TCP'] as new (type: number) => TcpHandle;
    const Pipe = pipe['Pipe'] as new (type: number) => PipeHandle & PipeListener;
    const tcpType = (tcp['constants'] as Record<string, number>)['SOCKET'] as number;
    const pipeTypes = pipe['constants'] as Record<'SOCKET' | 'SERVER', number>;
    const found = {
      streamState: stream['streamBaseState'],
      readOutcome: stream['kReadBytesOrError'],
      writeWasAsync: stream['kLastWriteWasAsync'],
      endOfFile: [...getSystemErrorMap()].find(([, [name]]) => name === 'EOF')?.[0],
      makeTcp: () => new Tcp(tcpType),
      makePipe: () => new Pipe(pipeTypes.SOCKET),
      makePipeListener: () => new Pipe(pipeTypes.SERVER),
      WriteRequest: stream['WriteWrap'],
      ShutdownRequest: stream['ShutdownWrap'],
      TcpConnectRequest: tcp['TCPConnectWrap'],
      PipeConnectRequest: pipe['PipeConnectWrap'],
    };
    const complete = Object.values(found).every((part) => part !== undefined);
    return complete && typeof Tcp.prototype.useUserBuffer === 'function' ? (found as Handles) : null;
  } catch {
    // No such interface, or no permission to use it: there is another way.
    return null;
  }
}

/** Without Node's warning DEP0111, which would tell users what they can do nothing about. */
function internalBinding(name: string): Record<string, unknown> {
  const { noDeprecation = false } = process;
  process.noDeprecation = true;
  try {
    return (process as unknown as { binding: Binding }).binding(name);
  } finally {
    process.noDeprecation = noDeprecation;
  }
}
