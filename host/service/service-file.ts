import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, messageOf, OperationError } from '../../protocol/errors.js';

/** How a manager's files say what to run. */
export interface ServiceFileFormat {
  /** The entry that has the command. */
  entry: string;
  /** The command line in a file's text; undefined when there is none. */
  commandOf(text: string): string[] | undefined;
}

/** The file that tells a manager of services what to run. */
export class ServiceFile {
  readonly path: string;
  readonly #format: ServiceFileFormat;

  constructor(path: string, format: ServiceFileFormat) {
    this.path = path;
    this.#format = format;
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

  /** What it runs. @throws OperationError when it is not there, or cannot be understood */
  async command(): Promise<string[]> {
    const text = await this.read();
    if (text === undefined)
      throw new OperationError(
        `${this.path} is not there: install the service with portferry service install`,
      );
    const { entry, commandOf } = this.#format;
    const command = commandOf(text);
    if (command) return command;
    throw new OperationError(`${this.path} cannot be used: it has no ${entry}; install the service again`);
  }

  /** Why what it names cannot be run, if so: it cannot be understood, or Node or the script is gone. */
  async problem(): Promise<string | undefined> {
    try {
      const missing = (await this.command()).slice(0, 2).find((path) => !existsSync(path));
      return missing && `${missing}, which it starts, is gone: install the service again`;
    } catch (thrown) {
      return messageOf(thrown);
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
