/** Of what docker says so much (characters) is quoted. */
const MAX_QUOTED = 400;

/** What helps, by what docker's own message says; the first that fits. */
const ADVICE: readonly [pattern: RegExp, advice: string][] = [
  [
    /context.*(not found|does not exist)|no such context|unknown connection/is,
    'there is no such context; docker context ls lists those that there are',
  ],
  [
    /permission denied.*(daemon socket|docker api|docker\.sock|connect)/is,
    "this user may not use the engine's socket; join the group that owns it, usually docker, and log in again",
  ],
  [
    /cannot connect to the docker daemon|failed to connect to the docker api|error during connect|unable to connect to podman|connection refused/i,
    'no engine answers; start it (Docker Desktop, Colima, dockerd …), or name another context with --engine=CONTEXT',
  ],
  [
    /bind source path does not exist|invalid mount config for type "bind"|statfs .*no such file/i,
    "the engine's machine has no socket there; say with --engine-socket PATH where the engine's own socket is",
  ],
  [
    /executable file not found|exec: "node"/i,
    'the image has no node; name one that has with --image, such as node:24-slim',
  ],
  [/exec format error/i, "the image is for another processor; name one for the engine's own with --image"],
  [/no space left on device/i, "the engine's disk is full; docker system prune makes room"],
  [
    /privileged|operation not permitted/i,
    'the engine does not allow a privileged container, which --engine needs; choose an engine of your own',
  ],
];

/**
 * What went wrong with a call of docker's, in one sentence: what could not be done, what to do about it where that
 * is known, and what docker said.
 */
export function explainDocker(what: string, stderr: string): string {
  const said = quoteDocker(stderr);
  const advice = ADVICE.find(([pattern]) => pattern.test(stderr))?.[1];
  if (advice === undefined)
    return said === '' ? `${what}: docker has not said why` : `${what}: docker says: ${said}`;
  return `${what}: ${advice} (docker says: ${said})`;
}

/** docker's message as one line of bounded length, without what only says who speaks. */
export function quoteDocker(stderr: string): string {
  const line = stderr
    .split('\n')
    .map((each) =>
      each
        .trim()
        .replace(/^(docker|Error): /, '')
        .replace(/^Error response from daemon: /, ''),
    )
    // Advice of docker's that leads nowhere here.
    .filter((each) => each !== '' && !/^(See '|Run ')docker .* --help/.test(each))
    .join('; ');
  return line.length > MAX_QUOTED ? `${line.slice(0, MAX_QUOTED)} …` : line;
}
