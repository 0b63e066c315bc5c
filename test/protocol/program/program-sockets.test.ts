import t from 'tap';
import { startProgramSockets } from '../../../protocol/program/program-sockets.js';
import type { SocketReport } from '../../../protocol/socket/socket-report.js';
import { INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';

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
        '../../../protocol/socket/start.ts': {
          startSockets: async () => report,
        },
      },
    );
    const warned = new LogRecorder();
    t.strictSame(await mocked.startProgramSockets(warned.logger), report);
    t.match(await warned.line(/^sockets: /), { level: WARN, sockets: report });
  }
});
