import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { FIRST_FREE_PORT } from '../../host/listen/bind-rules.js';
import { INPUT_OUTPUT_ERROR } from '../../host/service/launchd.js';
import { OPTION_NUMBERS, type SocketOption } from '../../protocol/socket/socket-options.js';
import { RESET_AT_CLOSE } from '../../protocol/socket/tcp-options.js';
import { MAX_PATH_BYTES_DARWIN } from '../../protocol/transport/unix-path.js';
import { temporaryFolder } from '../fixtures/programs.js';
import { installZig } from './fixtures/zig.js';

const TARGETS = ['aarch64-macos', 'x86_64-macos'];
const HEADERS = ['errno.h', 'netinet/in.h', 'netinet/tcp.h', 'stddef.h', 'sys/socket.h', 'sys/un.h'];

/** What the headers call our options. */
const NAMES: Record<SocketOption, [level: string, name: string]> = {
  sendBuffer: ['SOL_SOCKET', 'SO_SNDBUF'],
  receiveBuffer: ['SOL_SOCKET', 'SO_RCVBUF'],
  keepAlive: ['SOL_SOCKET', 'SO_KEEPALIVE'],
  keepAliveIdle: ['IPPROTO_TCP', 'TCP_KEEPALIVE'],
  keepAliveInterval: ['IPPROTO_TCP', 'TCP_KEEPINTVL'],
  linger: ['SOL_SOCKET', 'SO_LINGER'],
  noDelay: ['IPPROTO_TCP', 'TCP_NODELAY'],
};

/** C expressions, and what portferry takes them to be on macOS. */
const EXPECTED: [expression: string, value: number][] = [
  ...Object.entries(NAMES).flatMap(([option, [level, name]]): [string, number][] => {
    const [ourLevel, ourName] = OPTION_NUMBERS.darwin[option as SocketOption];
    return [
      [level, ourLevel],
      [name, ourName],
    ];
  }),
  ['sizeof(struct linger)', RESET_AT_CLOSE.byteLength],
  ['offsetof(struct linger, l_onoff)', 0],
  ['offsetof(struct linger, l_linger)', Int32Array.BYTES_PER_ELEMENT],
  ['sizeof(int)', Int32Array.BYTES_PER_ELEMENT],
  // The NUL at its end has no place in our number.
  ['sizeof(((struct sockaddr_un *)0)->sun_path)', MAX_PATH_BYTES_DARWIN + 1],
  ['IPPORT_RESERVED', FIRST_FREE_PORT],
  ['EIO', INPUT_OUTPUT_ERROR],
];

t.test("what portferry knows of macOS's structures and numbers is what Apple's headers say", async (t) => {
  const compile = await installZig(t);
  if (!compile) return;
  const folder = temporaryFolder(t);
  const write = (name: string, expected: typeof EXPECTED): string => {
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const assertions = expected.map(
      ([expression, value]) =>
        `_Static_assert((${expression}) == ${value}, "${expression} is not ${value}");`,
    );
    const path = join(folder, name);
    writeFileSync(path, `${[...includes, ...assertions].join('\n')}\n`);
    return path;
  };
  const right = write('right.c', EXPECTED);
  for (const target of TARGETS) {
    t.strictSame(await compile(target, right), { outcome: 0, output: '' }, target);
    // One that the compiler does not look at would prove nothing.
    const wrong = write(
      'wrong.c',
      EXPECTED.map(([expression, value]) => [expression, value + 1]),
    );
    const { outcome, output } = await compile(target, wrong);
    t.not(outcome, 0, 'wrong numbers do not compile');
    for (const [expression, value] of EXPECTED)
      t.ok(output.includes(`${expression} is not ${value + 1}`), expression);
  }
});
