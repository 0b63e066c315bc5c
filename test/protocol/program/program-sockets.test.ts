import t from 'tap';
import { UsageError } from '../../../protocol/errors.js';
import { checkKeepAlive } from '../../../protocol/program/keep-alive-option.js';
import { startProgramSockets } from '../../../protocol/program/program-sockets.js';
import type { SocketReport } from '../../../protocol/socket/report.js';
import { INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';

t.test('--keep-alive takes whole seconds, as many as the system takes', (t) => {
  for (const seconds of [0, 1, 15, 32_767]) t.equal(checkKeepAlive(seconds), seconds);
  for (const seconds of [-1, 0.5, 32_768, 3_000_000])
    t.throws(() => checkKeepAlive(seconds), {
      constructor: UsageError,
      message: `--keep-alive ${seconds}: it must be whole seconds, from 1 to 32767, or 0 for never`,
    });
  t.end();
});

t.test('which sockets a program uses is said once, as a warning where something is lacking', async (t) => {
  const log = new LogRecorder();
  t.match(await startProgramSockets(log.logger, 15), { kind: 'handles' });
  t.match(await log.line(/^sockets: /), { level: INFO, sockets: { kind: 'handles', resetsAtDeath: true } });

  const lacking: SocketReport[] = [
    { kind: 'handles', resetsAtDeath: false },
    { kind: 'node:net', reason: 'broken', resetsAtDeath: true },
  ];
  for (const report of lacking) {
    const mocked = await t.mockImport<typeof import('../../../protocol/program/program-sockets.js')>(
      '../../../protocol/program/program-sockets.js',
      {
        '../../../protocol/socket/start.js': {
          startSockets: async () => report,
        },
      },
    );
    const warned = new LogRecorder();
    t.strictSame(await mocked.startProgramSockets(warned.logger), report);
    t.match(await warned.line(/^sockets: /), { level: WARN, sockets: report });
  }
});
