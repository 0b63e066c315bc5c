/** The oldest Node.js that portferry runs on; package.json's `engines` says the same. */
export const OLDEST_NODE = '20.19.0';

/**
 * What is wrong with a release of Node.js, as one line; undefined when it is new enough. Nothing here may need
 * more than Node 12: an older one has no ES modules at all.
 * @param version as process.version has it
 */
export function problemOfNode(version: string): string | undefined {
  const [major = 0, minor = 0] = version.replace('v', '').split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE.split('.').map(Number);
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined;
  return `this is Node.js ${version}, which is too old: install ${oldestMajor}.${oldestMinor} or later`;
}
