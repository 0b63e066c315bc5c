import { BUILD } from '../../protocol/program/build-description.js';
import type { ProgramDeclaration } from '../../protocol/program/run-program.js';
import { VERSION } from '../../protocol/program/version.js';
import { MAX_IDLE_SECONDS } from '../../protocol/services/control.js';
import { ALL_FORMS } from '../../protocol/transport/channel-address.js';
import { SPEC_FORM, UNIX_SPEC_FORM } from '../rule/forward-spec.js';
import { benchCommand } from './bench.js';
import { captureCommand } from './capture.js';
import { makeCompletionCommand } from './completion.js';
import { dashboardCommand } from './dashboard.js';
import { exposeCommand, unexposeCommand } from './expose.js';
import { type HostModule, makeHostCommand } from './host.js';
import { logLevelCommand } from './log-level.js';
import { doctorCommand, pathCommand } from './path.js';
import { makeServiceCommand } from './service.js';
import { dumpCommand, listCommand, statusCommand } from './show.js';
import { tailCommand } from './tail.js';
import { makeUpCommand } from './up.js';

const EPILOGUE = `SPEC: ${SPEC_FORM} or ${UNIX_SPEC_FORM}.
8080 alone is 8080 on both sides. No host address is localhost, 127.0.0.1 and ::1; 0.0.0.0 is every IPv4 address, [::] every IPv6 address, * both. Host port 0 is a free port, which is printed. More may stand behind it: /tcp/proxy=v1 or /tcp/proxy=v2 tells the server who the client is, by the PROXY protocol; /udp/idle=SECONDS, from 1 to ${MAX_IDLE_SECONDS}, ends a flow that is idle for so long. portferry expose --help has an example of every part.

ADDR: ${ALL_FORMS}. exec:COMMAND starts a program whose standard input and output are the channel, by words as in a shell but without one; stdio: is for what it starts at the other end.

RULE: [ADDRESS[/PREFIX]][:PORT[-END]][/tcp|/udp] or unix:PATH.

Options: every option can also be given as environment variable (--log-level as PORTFERRY_LOG_LEVEL) or in the JSON file that --config names ({"log-level": "debug"}). A flag wins over the environment, which wins over the file.

Exit codes: 0 done, 1 it failed (standard error says why), 2 wrong usage.`;

const loadHost = (): Promise<HostModule> => import('../daemon.js');

const COMMANDS = [
  makeHostCommand(loadHost),
  makeUpCommand(),
  exposeCommand,
  unexposeCommand,
  listCommand,
  statusCommand,
  dumpCommand,
  logLevelCommand,
  pathCommand,
  doctorCommand,
  tailCommand,
  dashboardCommand,
  captureCommand,
  benchCommand,
  makeServiceCommand(loadHost),
];

/** The `portferry` command. */
export const portferry: ProgramDeclaration = {
  name: 'portferry',
  version: VERSION,
  build: BUILD,
  describe: 'Forwards ports of this host into a virtual machine.',
  commands: [...COMMANDS, makeCompletionCommand(COMMANDS)],
  examples: [
    ['$0 up --demo', 'host and guest on this machine, and a request going through'],
    ['$0 host --forward 8080:80', 'wait for a guest, and forward localhost:8080 to its port 80'],
    ['$0 expose 9090:9090', 'one more forward, while the host runs'],
    ['$0 status', 'is the guest there?'],
  ],
  epilogue: EPILOGUE,
};
