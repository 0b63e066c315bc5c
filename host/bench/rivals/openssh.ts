import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from '../endpoint.js';
import { findByVersion, programFile } from './find.js';
import { freeEndpoint, startPrograms } from './programs.js';
import type { Rival } from './rival.js';

/** What Lima and Colima forward with. The keys are made for this run and go with its folder. */
export const openssh: Rival = {
  name: 'ssh',
  setup: 'ssh -L to an sshd on loopback, aes128-gcm',
  async find() {
    for (const program of ['ssh-keygen', 'sshd']) {
      const found = await findByVersion(program);
      if ('absent' in found) return found;
    }
    return findByVersion('ssh', '-V');
  },
  start: (target, folder) =>
    startPrograms(async (programs) => {
      const server = await freeEndpoint();
      const endpoint = await freeEndpoint();
      const key = join(folder, 'key');
      await promisify(execFile)(await programFile('ssh-keygen'), [
        ...['-q', '-t', 'ed25519', '-N', '', '-f', key],
      ]);
      await copyFile(`${key}.pub`, join(folder, 'authorized_keys'));
      const config = join(folder, 'sshd_config');
      await writeFile(config, sshdConfig(folder, key, server));
      // sshd wants its privilege separation folder, which a service's start would make.
      if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true });
      await programs.start([await programFile('sshd'), '-D', '-e', '-f', config], server);
      await programs.start(
        [
          await programFile('ssh'),
          ...['-N', '-F', 'none', '-i', key, '-p', String(server.port), '-c', 'aes128-gcm@openssh.com'],
          ...options('StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null'),
          ...options('BatchMode=yes', 'ExitOnForwardFailure=yes'),
          ...['-L', `${endpoint.host}:${endpoint.port}:${target.host}:${target.port}`],
          `${userInfo().username}@${server.host}`,
        ],
        endpoint,
      );
      return endpoint;
    }),
};

function options(...settings: string[]): string[] {
  return settings.flatMap((setting) => ['-o', setting]);
}

function sshdConfig(folder: string, key: string, { host, port }: Endpoint): string {
  return `ListenAddress ${host}:${port}
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
