import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/**
 * Loads a native addon that is in memory. The system loads from files only: so it is written to a folder that is
 * its own (mode 0700), and removed as soon as it is loaded, which leaves it where it is mapped.
 * @param folders where that may be, the first one that serves being taken: one may be full, read-only or `noexec`
 * @returns what the addon exports
 * @throws the failure of the last folder
 */
export function loadAddon(addon: Buffer, folders: readonly string[]): unknown {
  let failure: unknown = new Error('there is no folder to load it from');
  for (const folder of folders) {
    let own: string | undefined;
    try {
      own = mkdtempSync(join(folder, 'portferry-addon-'));
      const path = join(own, 'addon.node');
      writeFileSync(path, addon, { mode: 0o500 });
      const loaded = { exports: {} };
      process.dlopen(loaded, path, constants.dlopen.RTLD_LAZY);
      return loaded.exports;
    } catch (thrown) {
      failure = thrown;
    } finally {
      if (own !== undefined) rmSync(own, { recursive: true, force: true });
    }
  }
  throw failure;
}
