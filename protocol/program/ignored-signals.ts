import type { EventEmitter } from 'node:events';

/**
 * Which signals were ignored when the program was started, such as SIGHUP by nohup, SIGINT in the background of
 * a script. Node.js makes every inherited ignore the default again before any of its code runs, so that only the
 * first line of main.ts, which a shell runs, can tell: `HUP INT`. Absent where Node was called directly.
 */
export const IGNORED_SIGNALS_VARIABLE = 'PORTFERRY_IGNORED_SIGNALS';

/** The signals that this process was started to ignore. */
export function ignoredSignals(environment: NodeJS.ProcessEnv): ReadonlySet<string> {
  const told = environment[IGNORED_SIGNALS_VARIABLE];
  if (told !== undefined) return new Set(told.split(' ').flatMap((name) => (name ? `SIG${name}` : [])));
  // `nohup node …/main.js`: bash, zsh and ksh say in `_` which command they have started.
  return new Set(/(^|\/)nohup$/.test(String(environment['_'])) ? ['SIGHUP'] : []);
}

/** Goes on ignoring what was ignored at the start. Called first of all, also by a Node.js that is too old. */
export function keepIgnoring(environment: NodeJS.ProcessEnv, events: EventEmitter): void {
  for (const name of ignoredSignals(environment)) events.on(name, () => {});
}
