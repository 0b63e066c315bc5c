import type { OptionDeclaration } from '../../protocol/program/declared-options.js';
import { defaultControlPath } from '../../protocol/program/runtime-folder.js';
import { ControlClient } from '../control/client.js';

export const CONTROL_OPTION = {
  type: 'string',
  describe: "Path of the host's control socket",
  defaultDescription: 'control.sock in the runtime folder',
} as const satisfies OptionDeclaration;

export const JSON_OPTION = {
  type: 'boolean',
  describe: 'Print one JSON document',
} as const satisfies OptionDeclaration;

/** The options of the commands that ask a running host. */
export const CLIENT_OPTIONS = { control: CONTROL_OPTION, json: JSON_OPTION } as const;

/** A client of the host that the options and the environment point at. */
export function makeClient(control: string | undefined, environment: NodeJS.ProcessEnv): ControlClient {
  return new ControlClient(control ?? defaultControlPath(environment));
}
