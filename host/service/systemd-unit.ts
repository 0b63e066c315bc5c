import { DEFAULT_NAME, type ServiceDefinition } from './definition.js';

/** Seconds that systemd waits for the end before it kills: more than the ten that connections in flight get. */
const STOP_TIMEOUT_SECONDS = 20;

/** Seconds between two starts of a service that has failed. */
const RESTART_SECONDS = 5;

/** One that fails so many times within this time (s) stays down. */
const START_LIMIT = { times: 5, seconds: 120 };

/** The exit code of wrong usage: trying again would change nothing. */
const WRONG_USAGE = 2;

/** Each client takes a descriptor. */
const DESCRIPTORS = 65_536;

/** `portferry-host.service`, or `portferry-host-NAME.service` beside it. */
export function unitName(name: string): string {
  return name === DEFAULT_NAME ? 'portferry-host.service' : `portferry-host-${name}.service`;
}

/**
 * The unit file of a systemd user service.
 * @param notifies whether the program can tell systemd when it listens
 */
export function systemdUnit(definition: ServiceDefinition, notifies: boolean): string {
  const { name, command, environment, home } = definition;
  const variables = Object.entries(environment).map(
    ([variable, value]) => `Environment=${quote(`${variable}=${value}`)}\n`,
  );
  return `[Unit]
Description=portferry host${name === DEFAULT_NAME ? '' : ` ${name}`}: forwards ports of this machine into a virtual machine
StartLimitIntervalSec=${START_LIMIT.seconds}
StartLimitBurst=${START_LIMIT.times}

[Service]
Type=${notifies ? 'notify' : 'exec'}
${notifies ? 'NotifyAccess=main\n' : ''}ExecStart=${command.map(quoteArgument).join(' ')}
${variables.join('')}WorkingDirectory=${escapePath(home)}
Restart=on-failure
RestartSec=${RESTART_SECONDS}
RestartPreventExitStatus=${WRONG_USAGE}
TimeoutStopSec=${STOP_TIMEOUT_SECONDS}
KillMode=mixed
LimitNOFILE=${DESCRIPTORS}

[Install]
WantedBy=default.target
`;
}

/** The command line in a unit file, as systemdUnit writes it; undefined when there is none. */
export function commandOfUnit(text: string): string[] | undefined {
  const line = /(?:^|\n)ExecStart=([^\n]*)/.exec(text)?.[1];
  return line
    ?.match(/"(?:[^"\\]|\\.)*"/gs)
    ?.map((word) => unquote(word.slice(1, -1)).replaceAll('%%', '%').replaceAll('$$', '$'));
}

/** systemd.syntax(7): in quotes, with C's escapes; `%` begins a specifier. */
function quote(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('%', '%%');
  return `"${escaped}"`;
}

/** In a command line `$` begins a variable, too; systemd.service(5). */
function quoteArgument(text: string): string {
  return quote(text.replaceAll('$', '$$$$'));
}

/** What quote() writes for what would end a line. */
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r' };

function unquote(text: string): string {
  return text.replace(/\\(.)/gs, (_whole, next: string) => ESCAPES[next] ?? next);
}

/** A path as such takes no quotes. */
function escapePath(path: string): string {
  return path.replaceAll('%', '%%');
}
