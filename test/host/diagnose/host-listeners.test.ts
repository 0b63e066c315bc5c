import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findListeners } from '../../../host/diagnose/host-listeners.js';
import { FakeMachine, procLine } from '../../fixtures/fake-machine.js';
import { temporaryFolder } from '../../fixtures/programs.js';

t.test('Linux', async (t) => {
  const machine = new FakeMachine(t);
  machine.listen(undefined, procLine('0100007F', 8080, 1), procLine('00000000', 81, 2));
  machine.process(60, 'nginx', 1);
  t.same(await findListeners('tcp', 8080, { platform: 'linux', proc: machine.proc }), {
    found: [{ proto: 'tcp', ip: '127.0.0.1', port: 8080, pid: 60, command: 'nginx' }],
  });
  t.match(await findListeners('udp', 1, { platform: 'linux', proc: machine.proc }), { unseen: /ENOENT/ });
});

t.test('macOS', async (t) => {
  const lsof = join(temporaryFolder(t), 'lsof');
  const write = (script: string): void => {
    writeFileSync(lsof, `#!/bin/sh\n${script}\n`);
    chmodSync(lsof, 0o755);
  };
  write("printf 'p7\\nccom.docker.backend\\nf3\\nn*:8080\\n'");
  t.same(await findListeners('tcp', 8080, { platform: 'darwin', lsof }), {
    found: [{ proto: 'tcp', ip: '::', port: 8080, pid: 7, command: 'com.docker.backend' }],
  });
  write('exit 1');
  t.same(await findListeners('udp', 53, { platform: 'darwin', lsof }), { found: [] }, 'it has found nothing');
  write('exit 2');
  t.match(await findListeners('udp', 53, { platform: 'darwin', lsof }), { unseen: /cannot be read/ });
});

t.test('this machine', async (t) => {
  t.ok(await findListeners('tcp', 1));
});
