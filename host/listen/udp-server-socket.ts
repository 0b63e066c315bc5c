import type dgram from 'node:dgram';
import { knowsAddressAsked, PacketInfoSocket } from '../../protocol/socket/packet-info-socket.js';
import { createUdpSocket, takesDatagrams } from '../../protocol/socket/udp-socket.js';
import { EVERY_ADDRESS } from '../../protocol/wire/address.js';
import type { SourceAddress } from '../../protocol/wire/extension.js';

/** One bound socket of a UDP forward, as the datagrams of one of its addresses see it. */
export interface UdpServerSocket {
  /** The address that was asked; of a socket on a wildcard address whose OS does not tell, that. */
  readonly address: SourceAddress;
  /** Sends a datagram from there to a client. @param onFailed is told when it could not be sent, and why */
  send(payload: Buffer, client: SourceAddress, onFailed: (error: Error) => void): void;
}

/** What a bound socket tells. */
export interface UdpSocketHandler {
  onDatagram(payload: Buffer, client: SourceAddress, socket: UdpServerSocket): void;
  /** Nothing can be received at present. */
  onError(error: Error): void;
}

/** What is bound. */
export interface BoundUdpSocket {
  readonly address: SourceAddress;
  /** Resolves when the address is free. */
  close(): Promise<void>;
}

/**
 * Binds a UDP socket.
 * @throws Error with the errno as its code
 * @param tellsAddress whether a socket on a wildcard address can know which address was asked
 */
export async function bindUdpSocket(
  ip: string,
  port: number,
  handler: UdpSocketHandler,
  tellsAddress = knowsAddressAsked(),
): Promise<BoundUdpSocket> {
  return tellsAddress && EVERY_ADDRESS.includes(ip)
    ? bindWithPacketInfo(ip, port, handler)
    : await bindDatagramSocket(ip, port, handler);
}

function bindWithPacketInfo(ip: string, port: number, handler: UdpSocketHandler): BoundUdpSocket {
  const socket = new PacketInfoSocket(ip, port, {
    onDatagram: (payload, client, asked) =>
      handler.onDatagram(payload, client, {
        address: asked,
        send: (answer, to, onFailed) => {
          const error = socket.send(answer, to, asked);
          if (error) onFailed(error);
        },
      }),
    onError: (error) => handler.onError(error),
  });
  return socket;
}

async function bindDatagramSocket(
  ip: string,
  port: number,
  handler: UdpSocketHandler,
): Promise<BoundUdpSocket> {
  const socket = createUdpSocket(ip);
  const close = (): Promise<void> => new Promise((resolve) => socket.close(resolve));
  try {
    await bind(socket, ip, port);
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const bound = socket.address();
  const address = { ip: bound.address, port: bound.port };
  const server: UdpServerSocket = {
    address,
    send: (payload, client, onFailed) => {
      if (!takesDatagrams(socket)) onFailed(new Error('too much waits for the kernel already'));
      else
        socket.send(payload, client.port, client.ip, (error) => {
          if (error) onFailed(error);
        });
    },
  };
  socket.on('error', (error) => handler.onError(error));
  socket.on('message', (payload, from) =>
    handler.onDatagram(payload, { ip: from.address, port: from.port }, server),
  );
  return { address, close };
}

function bind(socket: dgram.Socket, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}
