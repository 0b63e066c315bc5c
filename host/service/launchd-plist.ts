import { build } from 'plist';
import { DEFAULT_NAME, type ServiceDefinition } from './definition.js';

/** Seconds that launchd waits for the end before it kills: more than the ten that connections in flight get. */
export const EXIT_TIMEOUT_SECONDS = 20;

/** Seconds between two starts of a service that fails at once: launchd starts it again for ever. */
const THROTTLE_SECONDS = 30;

/** launchd gives 256 descriptors unless it is told; each client takes one. */
const DESCRIPTORS = 65_536;

/** `dev.portferry.host`, or `dev.portferry.host.NAME` beside it. */
export function launchdLabel(name: string): string {
  return name === DEFAULT_NAME ? 'dev.portferry.host' : `dev.portferry.host.${name}`;
}

/**
 * The property list of a launchd agent, as launchd.plist(5) has it.
 * @param crashLogPath gets what the program writes to its standard error beside its log: the last words of a crash
 */
export function launchdPlist(definition: ServiceDefinition, crashLogPath: string): string {
  const limits = { NumberOfFiles: DESCRIPTORS };
  return `${build({
    Label: launchdLabel(definition.name),
    ProgramArguments: [...definition.command],
    EnvironmentVariables: { ...definition.environment },
    WorkingDirectory: definition.home,
    RunAtLoad: true,
    // One that ends in order, or finds its options wrong, stays down; one that fails is started again.
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: THROTTLE_SECONDS,
    ExitTimeOut: EXIT_TIMEOUT_SECONDS,
    // Not one whose work may be put off: somebody waits for each connection.
    ProcessType: 'Interactive',
    SoftResourceLimits: limits,
    HardResourceLimits: limits,
    StandardOutPath: '/dev/null',
    StandardErrorPath: crashLogPath,
  })}\n`;
}

/** The command line in a property list, as launchdPlist writes it; undefined when there is none. */
export function commandOfPlist(text: string): string[] | undefined {
  const array = /<key>ProgramArguments<\/key>\s*<array>(.*?)<\/array>/s.exec(text)?.[1];
  const words = array?.matchAll(/<string>([^<]*)<\/string>|<string\s*\/>/g);
  return words && [...words].map(([, text = '']) => decodeXml(text));
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

function decodeXml(text: string): string {
  return text.replace(/&(\w+);/g, (whole, name: string) => ENTITIES.get(name) ?? whole);
}
