import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';

/** The file that tells a manager of services what to run. */
export class ServiceFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** @returns undefined when there is none. @throws OperationError when it cannot be read */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return undefined;
      throw new OperationError(`cannot read ${this.path}: ${messageOf(thrown)}`);
    }
  }

  /**
   * Replaces the file, whole or not at all. What somebody has changed in it by hand is kept beside it, as
   * FILE.previous.
   * @throws OperationError
   */
  async write(text: string): Promise<void> {
    const temporary = `${this.path}.tmp`;
    try {
      await mkdir(dirname(this.path), { recursive: true });
      const before = await this.read();
      if (before === text) return;
      if (before !== undefined) await copyFile(this.path, `${this.path}.previous`);
      await writeFile(temporary, text, { mode: 0o644 });
      await rename(temporary, this.path);
    } catch (thrown) {
      await rm(temporary, { force: true });
      throw new OperationError(`cannot write ${this.path}: ${messageOf(thrown)}`);
    }
  }

  /** @returns false when there was none */
  async remove(): Promise<boolean> {
    const existed = (await this.read()) !== undefined;
    await rm(this.path, { force: true });
    await rm(`${this.path}.previous`, { force: true });
    return existed;
  }
}
