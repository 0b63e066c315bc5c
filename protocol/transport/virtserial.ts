import { closeSync, constants, openSync, readFileSync, type Stats, statSync } from 'node:fs';
import { OperationError } from '../errors.js';
import { connectSocket } from '../socket/connect-socket.js';
import { HandleSocket } from '../socket/handle-socket.js';
import type { RawSocket } from '../socket/raw-socket.js';
import { unattended } from '../socket/raw-socket.js';
import { settings } from '../socket/settings.js';
import { systemFailure } from './advice.js';
import { type ChannelAddress, formatAddress } from './channel-address.js';
import { LineSocket } from './line-socket.js';
import { connectablePath } from './unix-path.js';

type VirtserialAddress = Extract<ChannelAddress, { kind: 'virtserial' }>;

/** How long (ms) the two ends may take to agree: as long as the handshake of a channel that has connections. */
const AGREEMENT_TIMEOUT_MS = 10_000;

/**
 * The drivers, as /proc/devices names them, whose devices are lines: virtio-serial ports, and pseudo-terminals, which
 * stand in for them in tests. Others are not opened: that alone does something to some, and libuv stands not all.
 */
const DRIVERS = ['virtio-portsdev', 'pts'];

const NOBODY = 'nobody is at the other end; start portferry there, and QEMU where that is the host';

const ADVICE = {
  EPIPE: NOBODY,
  ECONNRESET: NOBODY,
  ENOENT:
    'there is no such port or socket; in a VM look into /dev/virtio-ports and load the module virtio_console, on the host give the path of "-chardev socket" and start QEMU',
  EBUSY: 'another program has this port open, and only one can; end that one',
  ENXIO: 'the port was taken out of the VM',
  ECONNREFUSED: 'QEMU does not listen there any more; start the VM',
};

/** How an attempt is bounded. */
export interface LineOptions {
  signal?: AbortSignal | undefined;
  /** Default: AGREEMENT_TIMEOUT_MS. */
  timeoutMs?: number | undefined;
  /** Names the drivers of devices. Default: /proc/devices. */
  driversFile?: string;
}

/**
 * Connects by a virtio-serial port: in the VM, where the path is a character device, and on the host, where it is
 * QEMU's socket.
 * @throws OperationError that says the address, what is wrong, and what to try
 */
export async function connectLine(
  address: VirtserialAddress,
  options: LineOptions = {},
): Promise<LineSocket> {
  const what = `cannot connect to ${formatAddress(address)}`;
  const device = attempt(what, () => statSync(address.path));
  const line = device.isCharacterDevice()
    ? openPort(what, address.path, device, options.driversFile)
    : connectSocket({ path: connectablePath(address.path) }, unattended, () => {});
  return agree(what, line, device.isCharacterDevice(), options);
}

function openPort(what: string, path: string, device: Stats, driversFile = '/proc/devices'): RawSocket {
  const driver = driverOf(device, driversFile);
  if (!DRIVERS.includes(driver))
    throw new OperationError(
      `${what}: it is a device of ${driver}, and no virtio-serial port; look into /dev/virtio-ports`,
    );
  const { internals } = settings;
  if (!internals)
    throw new OperationError(
      `${what}: this Node cannot read a device, for libuv's handles do not work; use another release of Node, or another kind of address`,
    );
  const { O_RDWR, O_NONBLOCK, O_NOCTTY } = constants;
  const fd = attempt(what, () => openSync(path, O_RDWR | O_NONBLOCK | O_NOCTTY));
  const handle = internals.makePipe();
  const status = handle.open(fd);
  if (status !== 0) {
    closeSync(fd);
    throw new OperationError(`${what}: this Node cannot read it (${status})`);
  }
  return new HandleSocket(internals, handle, false);
}

/** The driver's name, or what to call it. */
function driverOf({ rdev }: Stats, driversFile: string): string {
  // The kernel's own coding of a device number; majors above 4095 do not exist.
  const major = (rdev >>> 8) & 0xfff;
  try {
    return (
      new RegExp(`^ *${major} (.*)$`, 'm').exec(readFileSync(driversFile, 'latin1'))?.[1] ?? 'unknown kind'
    );
  } catch {
    return 'unknown kind';
  }
}

/** @param inGuest whether this is the VM's end */
function agree(what: string, line: RawSocket, inGuest: boolean, options: LineOptions): Promise<LineSocket> {
  const { signal, timeoutMs = AGREEMENT_TIMEOUT_MS } = options;
  return new Promise((resolve, reject) => {
    const socket = new LineSocket(line, {
      onAgreed: () => settle(() => resolve(socket)),
      onFailed: (error) => settle(() => reject(failure(what, error))),
    });
    const giveUp = (why: string): void =>
      settle(() => {
        socket.destroy();
        reject(new OperationError(`${what}: ${why}`));
      });
    const onAbort = (): void => giveUp('it was cancelled');
    const timer = setTimeout(() => giveUp(silence(timeoutMs, inGuest)), timeoutMs);
    let settled = false;
    const settle = (how: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      how();
    };
    signal?.addEventListener('abort', onAbort);
    line.resume();
  });
}

function failure(what: string, error: Error | undefined): OperationError {
  if (error) return systemFailure(what, error, ADVICE);
  return new OperationError(`${what}: ${NOBODY}`);
}

function silence(timeoutMs: number, inGuest: boolean): string {
  const other = inGuest
    ? 'does "portferry host" have the other end?'
    : 'does portferry-guest run in the VM? And has no other program of the host this socket? QEMU serves one, and keeps others waiting without a word';
  return `no portferry answers within ${timeoutMs} ms; ${other}`;
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (thrown) {
    throw systemFailure(what, thrown, ADVICE);
  }
}
