import { OperationError } from '../errors.js';
import type { RawSocket } from '../socket/raw-socket.js';
import { settings } from '../socket/settings.js';
import { loadVsockCalls } from '../socket/vsock-calls.js';
import { connectVsock, listenVsock, type VsockMeans } from '../socket/vsock-socket.js';
import { systemFailure } from './advice.js';
import { type ChannelAddress, formatAddress } from './channel-address.js';

type VsockAddress = Extract<ChannelAddress, { kind: 'vsock' }>;

/** The host's CID in each of its VMs. */
const HOST_CID = 2;

/** What most often helps with AF_VSOCK, by errno: it has its own ways. */
const ADVICE = {
  EAFNOSUPPORT:
    'this kernel has no AF_VSOCK; load its module: in a VM vmw_vsock_virtio_transport, on the host vhost_vsock, for CID 1 vsock_loopback',
  ENODEV:
    'nothing leads to that CID: in a VM, it needs a vsock device and the module vmw_vsock_virtio_transport, and the host is CID 2; on the host, the module vhost_vsock and a running VM with that CID; CID 1 needs vsock_loopback',
  ENETUNREACH: 'nothing leads to that CID; the host is CID 2, and a VM has the one that it was started with',
  ECONNRESET: 'nothing listens on that port there; start the end that listens first',
  // Not every vsock device says that nobody listens: vhost-device-vsock does not, when it is asked from its VM.
  ETIMEDOUT:
    'no answer from that CID; does the other end listen on that port, is its VM running, and the CID the one that it was started with?',
  EADDRINUSE: 'another process listens on that port; stop that one, or choose another port',
  EACCES: 'ports below 1024 are for root; choose a higher one, or run as root',
  EPERM:
    'this system forbids AF_VSOCK to this process, by a security module or a container; choose another address',
};

/**
 * What AF_VSOCK needs.
 * @param what that is wanted for, without a full stop
 * @throws OperationError where it is not to be had
 */
export function findVsockMeans(
  what: string,
  platform: NodeJS.Platform = process.platform,
  loadCalls = loadVsockCalls,
): VsockMeans {
  if (platform !== 'linux')
    throw new OperationError(
      `${what}: AF_VSOCK is Linux's; here a VM's vsock is a unix socket: use unix:PATH (vfkit's socketURL), hyperkit:DIR:PORT or firecracker:PATH:PORT`,
    );
  const handles = settings.internals;
  const calls = handles && loadCalls();
  if (!calls)
    throw new OperationError(
      `${what}: this Node cannot use AF_VSOCK (${handles ? 'koffi has no build for this machine' : "libuv's handles do not work"}); use another release of Node, or another kind of address`,
    );
  return { handles, calls };
}

/** @throws OperationError that says the address, the errno and what to try */
export async function connectVsockChannel(
  address: VsockAddress,
  signal: AbortSignal | undefined,
  findMeans: (what: string) => VsockMeans = findVsockMeans,
): Promise<RawSocket> {
  const what = `cannot connect to ${formatAddress(address)}`;
  const means = findMeans(what);
  try {
    return await connectVsock(means, { cid: address.cid ?? HOST_CID, port: address.port }, signal);
  } catch (thrown) {
    throw systemFailure(what, thrown, ADVICE);
  }
}

/**
 * Listens on the port for every machine, or for that of the address's CID alone.
 * @returns what ends listening
 * @throws OperationError that says the address, the errno and what to try
 */
export function listenForVsockChannel(
  address: VsockAddress,
  onSocket: (socket: RawSocket) => void,
  onError: (error: Error) => void,
  findMeans: (what: string) => VsockMeans = findVsockMeans,
): () => Promise<void> {
  const what = `cannot listen on ${formatAddress(address)}`;
  const means = findMeans(what);
  try {
    const stop = listenVsock(means, address.port, {
      onSocket: (socket, cid) => {
        if (address.cid === undefined || cid === address.cid) onSocket(socket);
        else {
          socket.destroy();
          onError(
            new OperationError(`a connection to ${formatAddress(address)} came from CID ${cid}: turned away`),
          );
        }
      },
      onError: (error) => onError(systemFailure(`accepting on ${formatAddress(address)}`, error)),
    });
    return async () => stop();
  } catch (thrown) {
    throw systemFailure(what, thrown, ADVICE);
  }
}
