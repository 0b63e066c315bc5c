import { isIPv6 } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { addressFromBytes, addressToBytes } from '../wire/address.js';
import { type Handles, handles, type PipeHandle } from './handles.js';
import { type MessageCalls, messageCalls } from './message-calls.js';
import { RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES } from './udp-socket.js';

/** An address and port; a link-local address has its interface, `%2`. */
export interface DatagramAddress {
  ip: string;
  port: number;
}

export interface PacketInfoHandler {
  /** @param to the address of this machine that the datagram was sent to */
  onDatagram(payload: Buffer, from: DatagramAddress, to: DatagramAddress): void;
  /** Nothing can be received at present. */
  onError(error: Error): void;
}

/** Datagrams that are taken in one turn of the event loop: others have sockets, too. */
const DATAGRAMS_PER_TURN = 64;

/** Linux: asm-generic/socket.h, bits/socket.h, linux/in.h, linux/in6.h. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const MSG_DONTWAIT = 0x40;

const SOCKADDR_BYTES = 28;
const SOCKADDR_IN_BYTES = 16;

/** struct cmsghdr: u64 length, i32 level, i32 type; then the in_pktinfo or in6_pktinfo. */
const CMSG_HEADER_BYTES = 16;
/** struct in_pktinfo: i32 interface, then the local address; and, when received, the one in the header. */
const PKTINFO_BYTES = 12;
/** struct in6_pktinfo: the address, i32 interface. */
const PKTINFO6_BYTES = 20;
const CONTROL_BYTES = 64;

const MAX_DATAGRAM_BYTES = 65_536;

/** Whether sockets on a wildcard address can answer from the address that was asked. */
export function knowsAddressAsked(calls = messageCalls, internals = handles): boolean {
  return calls !== null && internals !== null;
}

/** Where things lie in the memory of a Message: struct msghdr, struct iovec, the address, control data. */
const VECTOR_AT = 56;
const NAME_AT = 72;
const CONTROL_AT = 104;
const MESSAGE_BYTES = CONTROL_AT + CONTROL_BYTES;

/**
 * What a call receives into, or sends: struct msghdr, and what it points to. The kernel is given addresses, so
 * all of it is memory that never moves and that lives as long as the object; nothing else is ever pointed to.
 */
class Message {
  /** Of its own ArrayBuffer: memory that V8 has no reason to move. */
  readonly bytes = Buffer.from(new ArrayBuffer(MESSAGE_BYTES));
  readonly name = this.bytes.subarray(NAME_AT, NAME_AT + SOCKADDR_BYTES);
  readonly control = this.bytes.subarray(CONTROL_AT);
  readonly payload: Buffer;

  constructor(calls: MessageCalls, payload: Buffer) {
    this.payload = payload;
    const start = calls.addressOf(this.bytes);
    this.bytes.writeBigUInt64LE(start + BigInt(NAME_AT), 0);
    this.bytes.writeBigUInt64LE(start + BigInt(VECTOR_AT), 16);
    this.bytes.writeBigUInt64LE(1n, 24);
    this.bytes.writeBigUInt64LE(start + BigInt(CONTROL_AT), 32);
    this.bytes.writeBigUInt64LE(calls.addressOf(payload), VECTOR_AT);
  }

  /** How much room there is, or how much is to be sent; the kernel has written over the former. */
  setLengths(payload: number, name: number, control: number): void {
    this.bytes.writeUInt32LE(name, 8);
    this.bytes.writeUInt32LE(control, 40);
    this.bytes.writeUInt32LE(payload, VECTOR_AT + 8);
  }

  /** How much control data the kernel has written. */
  get controlBytes(): number {
    return this.bytes.readUInt32LE(40);
  }
}

/** What all such sockets receive into and send from: what they have is copied before the next call. */
const receiving = Buffer.from(new ArrayBuffer(MAX_DATAGRAM_BYTES));
const sending = Buffer.from(new ArrayBuffer(MAX_DATAGRAM_BYTES));

/**
 * A UDP socket bound to a wildcard address that knows to which address of this machine each datagram was sent,
 * and answers from there; a client that has connected its socket takes no other answer. node:dgram cannot tell.
 *
 * The kernel is asked by recvmsg and sendmsg. When there is something to receive, libuv tells: a pipe handle on
 * the descriptor that is to read into no memory at all reports that, and reads nothing.
 */
export class PacketInfoSocket {
  readonly address: DatagramAddress;
  readonly #calls: MessageCalls;
  readonly #fd: number;
  readonly #v6: boolean;
  readonly #handle: PipeHandle;
  readonly #handler: PacketInfoHandler;
  readonly #incoming: Message;
  readonly #outgoing: Message;
  #closed = false;

  /**
   * Binds a socket and receives from now on.
   * @param ip `0.0.0.0` or `::`; the latter takes no IPv4
   * @throws Error with the errno as its code
   */
  constructor(
    ip: string,
    port: number,
    handler: PacketInfoHandler,
    calls: MessageCalls = messageCalls as MessageCalls,
    internals: Handles = handles as Handles,
  ) {
    this.#calls = calls;
    this.#handler = handler;
    this.#v6 = isIPv6(ip);
    this.#incoming = new Message(calls, receiving);
    this.#outgoing = new Message(calls, sending);
    this.#fd = this.#check(
      calls.socket(this.#v6 ? AF_INET6 : AF_INET, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0),
      'socket',
    );
    try {
      this.address = this.#bind(ip, port);
    } catch (thrown) {
      calls.close(this.#fd);
      throw thrown;
    }
    this.#handle = internals.makePipe();
    this.#handle.open(this.#fd);
    this.#handle.onread = () => this.#receive();
    this.#handle.useUserBuffer(Buffer.alloc(0));
    this.#handle.readStart();
  }

  /** Sends a datagram. @returns why it could not be sent, if so */
  send(payload: Buffer, to: DatagramAddress, from: DatagramAddress): Error | undefined {
    const message = this.#outgoing;
    // The kernel is told a length: it must not read beyond what is there.
    if (payload.length > message.payload.length) return failure('EMSGSIZE', 'send');
    payload.copy(message.payload);
    const nameBytes = putSockaddr(message.name, to);
    message.setLengths(payload.length, nameBytes, putPacketInfo(message.control, from));
    const sent = this.#calls.sendmsg(this.#fd, message.bytes, MSG_DONTWAIT);
    return sent < 0 ? this.#failure('send') : undefined;
  }

  /** Resolves when the address is free. */
  close(): Promise<void> {
    this.#closed = true;
    return new Promise((resolve) => this.#handle.close(resolve));
  }

  #bind(ip: string, port: number): DatagramAddress {
    if (this.#v6) this.#set(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    this.#set(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES);
    this.#set(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
    if (this.#v6) this.#set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    else this.#set(IPPROTO_IP, IP_PKTINFO, 1);
    const name = Buffer.alloc(SOCKADDR_BYTES);
    this.#check(this.#calls.bind(this.#fd, name, putSockaddr(name, { ip, port })), 'bind', `${ip}:${port}`);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(SOCKADDR_BYTES);
    this.#check(this.#calls.getsockname(this.#fd, name, bytes), 'getsockname');
    return { ip, port: name.readUInt16BE(2) };
  }

  #set(level: number, name: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    this.#check(this.#calls.setsockopt(this.#fd, level, name, bytes, bytes.length), 'setsockopt');
  }

  #receive(): undefined {
    const message = this.#incoming;
    for (let count = 0; count < DATAGRAMS_PER_TURN && !this.#closed; count++) {
      message.setLengths(message.payload.length, SOCKADDR_BYTES, CONTROL_BYTES);
      const length = this.#calls.recvmsg(this.#fd, message.bytes, MSG_DONTWAIT);
      if (length < 0) {
        const failure = this.#failure('recvmsg');
        if (failure.code !== 'EAGAIN') this.#handler.onError(failure);
        return;
      }
      const to = readPacketInfo(message.control, message.controlBytes) ?? this.address.ip;
      const payload = Buffer.from(message.payload.subarray(0, length));
      this.#handler.onDatagram(payload, readSockaddr(message.name), { ip: to, port: this.address.port });
    }
  }

  #check(result: number, call: string, detail?: string): number {
    if (result < 0) throw this.#failure(call, detail);
    return result;
  }

  #failure(call: string, detail?: string): NodeJS.ErrnoException {
    return failure(getSystemErrorName(-this.#calls.errno()), call, detail);
  }
}

/** An error like Node's own. */
function failure(code: string, call: string, detail?: string): NodeJS.ErrnoException {
  const message = detail === undefined ? `${call} ${code}` : `${call} ${code} ${detail}`;
  return Object.assign(new Error(message), { code, syscall: call });
}

/** @returns how many bytes it takes */
function putSockaddr(into: Buffer, { ip, port }: DatagramAddress): number {
  const [address = '', zone = '0'] = ip.split('%');
  into.fill(0);
  into.writeUInt16BE(port, 2);
  const bytes = addressToBytes(address);
  if (bytes.length === 4) {
    into.writeUInt16LE(AF_INET, 0);
    into.set(bytes, 4);
    return SOCKADDR_IN_BYTES;
  }
  into.writeUInt16LE(AF_INET6, 0);
  into.set(bytes, 8);
  into.writeUInt32LE(Number(zone), 24);
  return SOCKADDR_BYTES;
}

function readSockaddr(bytes: Buffer): DatagramAddress {
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) === AF_INET) return { ip: bytes.subarray(4, 8).join('.'), port };
  return { ip: withZone(addressFromBytes(bytes, 8, 24), bytes.readUInt32LE(24)), port };
}

/** Only a link-local address needs it; the kernel tells it of no other. */
function withZone(ip: string, zone: number): string {
  return zone === 0 ? ip : `${ip}%${zone}`;
}

/** The local address that a datagram was sent to, or one that answers for it. */
function readPacketInfo(control: Buffer, bytes: number): string | undefined {
  if (bytes < CMSG_HEADER_BYTES + PKTINFO_BYTES) return undefined;
  const v6 = control.readInt32LE(8) === IPPROTO_IPV6;
  if (!v6) return control.subarray(CMSG_HEADER_BYTES + 4, CMSG_HEADER_BYTES + 8).join('.');
  // What went to a group has no address that could answer: the kernel chooses one.
  const multicast = control[CMSG_HEADER_BYTES] === 0xff;
  return multicast ? undefined : addressFromBytes(control, CMSG_HEADER_BYTES, CMSG_HEADER_BYTES + 16);
}

/** @returns how many bytes it takes */
function putPacketInfo(control: Buffer, { ip }: DatagramAddress): number {
  const address = addressToBytes(ip);
  const v6 = address.length === 16;
  const length = CMSG_HEADER_BYTES + (v6 ? PKTINFO6_BYTES : PKTINFO_BYTES);
  control.fill(0);
  control.writeBigUInt64LE(BigInt(length), 0);
  control.writeInt32LE(v6 ? IPPROTO_IPV6 : IPPROTO_IP, 8);
  control.writeInt32LE(v6 ? IPV6_PKTINFO : IP_PKTINFO, 12);
  control.set(address, v6 ? CMSG_HEADER_BYTES : CMSG_HEADER_BYTES + 4);
  // Rounded up to whole words.
  return Math.ceil(length / 8) * 8;
}
