import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findByVersion, freePort, LOOPBACK, Programs, programFile, type Rival } from './rival.js';

/** What Lima and Colima forward with. The keys are made for this run and go with its folder. */
export const openssh: Rival = {
  name: 'ssh',
  setup: 'ssh -L to an sshd on loopback, aes128-gcm',
  async find() {
    for (const program of ['sshd', 'ssh-keygen']) {
      const found = await findByVersion(program);
      if ('absent' in found) return found;
    }
    return findByVersion('ssh', '-V');
  },
  async start(target, folder) {
    const programs = new Programs();
    const server = { host: LOOPBACK, port: await freePort() };
    const endpoint = { host: LOOPBACK, port: await freePort() };
    const key = join(folder, 'key');
    await promisify(execFile)(await programFile('ssh-keygen'), ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    await copyFile(`${key}.pub`, join(folder, 'authorized_keys'));
    await writeFile(join(folder, 'sshd_config'), sshdConfig(folder, key, server.port));
    // sshd wants its privilege separation folder, which a service's start would make.
    if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true });
    await programs.start([await programFile('sshd'), '-D', '-e', '-f', join(folder, 'sshd_config')], server);
    await programs.start(
      [
        await programFile('ssh'),
        ...['-N', '-F', 'none', '-i', key, '-p', String(server.port)],
        ...[
          '-c',
          'aes128-gcm@openssh.com',
          '-o',
          'StrictHostKeyChecking=no',
          '-o',
          'UserKnownHostsFile=/dev/null',
        ],
        ...['-L', `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`],
        `${userInfo().username}@${server.host}`,
      ],
      endpoint,
    );
    return { endpoint, pids: programs.pids, stop: () => programs.stop() };
  },
};

function sshdConfig(folder: string, key: string, port: number): string {
  return `ListenAddress ${LOOPBACK}:${port}
HostKey ${key}
AuthorizedKeysFile ${join(folder, 'authorized_keys')}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxSessions 20000
`;
}
