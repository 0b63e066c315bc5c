import { fileURLToPath } from 'node:url';
import { FEATURES } from '../wire/handshake.js';

/** How a program has come here: in its package, as one file, with Node.js in it, or as source. */
export type BuildKind = 'package' | 'single file' | 'executable' | 'source';

/** What runs a program, and which features of the protocol it has; for reports of problems. */
export interface BuildReport {
  build: BuildKind;
  /** As process.version has it: `v20.19.0`. */
  node: string;
  platform: string;
  arch: string;
  features: readonly string[];
}

/**
 * @param place the URL of this module: a bundle of one file has no module but itself
 * @param executable the path of the program that runs this process
 */
export function buildKind(place: string, executable = process.execPath): BuildKind {
  const path = fileURLToPath(place);
  if (path === executable) return 'executable';
  if (path.endsWith('/build-description.ts')) return 'source';
  return path.endsWith('/build-description.js') ? 'package' : 'single file';
}

/** That of this process. */
export const BUILD: BuildReport = {
  build: buildKind(import.meta.url),
  node: process.version,
  platform: process.platform,
  arch: process.arch,
  features: FEATURES,
};

/** For people, behind the version. */
export function describeBuild({ build, node, platform, arch, features }: BuildReport): string {
  return `Node.js ${node}, ${platform} ${arch}, ${build}\nprotocol features: ${features.join(', ')}`;
}
