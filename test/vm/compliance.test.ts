import { join } from 'node:path';
import t from 'tap';
import { connectChannel } from '../../protocol/transport/connect-channel.js';
import { temporaryFolder } from '../fixtures/programs.js';
import { VSOCK_MODULES } from './fixtures/drive.js';
import { requireImage, requireVsockDevice } from './fixtures/image.js';
import { bundleInside, runInside } from './fixtures/inside.js';
import { startRelay } from './fixtures/relay.js';
import { Vm } from './fixtures/vm.js';
import { VsockDevice } from './fixtures/vsock-device.js';

/** Where the tests in the VM listen, and where this one does for them. */
const HERE = 5000;
const OUTSIDE = 5001;

t.test('AF_VSOCK in a VM: over its loopback, and through its device', async (t) => {
  const image = await requireImage(t);
  if (!image) return;
  const program = await requireVsockDevice(t);
  if (program === undefined) return;

  const folder = temporaryFolder(t);
  const path = join(folder, 'vm.sock');
  const device = await VsockDevice.start(t, program, path);
  const files = await bundleInside(t, folder, 'vsock');
  const vm = await Vm.boot(t, image, { modules: VSOCK_MODULES, start: [], files, devices: device.options });
  const at = (port: number) => ({ kind: 'firecracker', path, port }) as const;
  await startRelay(t, at(OUTSIDE), at(HERE));
  await runInside(t, vm, 'vsock', HERE, OUTSIDE);

  await t.test('outside, a port that nobody has in the VM is told in a sentence', async (t) => {
    await t.rejects(connectChannel(at(HERE)), {
      name: 'OperationError',
      message: `cannot connect to firecracker:${path}:${HERE}: it closed without accepting (no answer to CONNECT); does the guest listen`,
    });
  });
});
