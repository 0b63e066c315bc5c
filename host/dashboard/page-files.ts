import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationError } from '../../protocol/errors.js';

/** A file of the page, as it is answered. */
export interface PageFile {
  readonly type: string;
  readonly content: Buffer;
  /** Whether its name tells its content, so that a browser may keep it. */
  readonly lasting: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Where the build puts the page. */
const FOLDER = fileURLToPath(new URL('./page/', import.meta.url));

/**
 * Reads the page into memory, by the paths at which a browser asks for it.
 * @throws OperationError when it has not been built
 */
export function readPageFiles(folder = FOLDER): ReadonlyMap<string, PageFile> {
  const files = new Map(
    readdirSync(folder).flatMap((name): [string, PageFile][] => {
      const type = TYPES[extname(name)];
      if (type === undefined) return [];
      const index = name === 'index.html';
      const content = readFileSync(join(folder, name));
      return [[index ? '/' : `/${name}`, { type, content, lasting: !index }]];
    }),
  );
  if (files.has('/')) return files;
  throw new OperationError(`there is no page of the dashboard in ${folder}: run npm run build`);
}
