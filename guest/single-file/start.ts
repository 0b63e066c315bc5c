import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { problemOfNode } from '../../protocol/program/node-release.js';
import { readComment } from './read-comment.js';

/*
 * What the guest's single file begins with. An old Node.js reads a file as a whole before it runs any of it, and
 * could not read the guest's own code: so that is carried, as text, in a comment of this file. Nothing here may need
 * more than Node 12.
 */

/** The name under which the guest's code is carried: one string of JSON. */
const CODE = 'code';

const problem = problemOfNode(process.version);
if (problem === undefined) run(fileURLToPath(import.meta.url));
else {
  process.stderr.write(`portferry-guest: ${problem}\n`);
  process.exitCode = 1;
}

function run(path: string): void {
  const code = readComment(path, CODE);
  if (code === undefined) throw new Error(`${path} is not complete: build it again`);
  // The names that scripts/build.mjs has put in the place of import.meta's members are arguments.
  const guest = vm.compileFunction(JSON.parse(code), ['require', 'exports', 'fileUrl', 'filePath'], {
    filename: path,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  guest(createRequire(import.meta.url), {}, import.meta.url, path);
}
