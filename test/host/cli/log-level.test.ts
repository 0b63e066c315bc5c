import http from 'node:http';
import t, { type Test } from 'tap';
import { portferry } from '../../../host/cli/program.js';
import { startControlServer } from '../../../host/control/late-server.js';
import { ForwardTable } from '../../../host/forwards/forward-table.js';
import { createLogger, type Logger } from '../../../protocol/program/logger.js';
import { callProgram, type ProgramOutcome } from '../../fixtures/call-program.js';
import { fakeControlTarget } from '../../fixtures/fake-control-target.js';
import { shortFolder } from '../../fixtures/short-folder.js';

interface Started {
  call: (...args: string[]) => Promise<ProgramOutcome>;
  logger: Logger;
  messages: string[];
  path: string;
}

async function startHost(t: Test): Promise<Started> {
  const messages: string[] = [];
  const logger = createLogger('info', { write: (line) => void messages.push(JSON.parse(line).msg) });
  const forwards = new ForwardTable({ onClient: (socket) => socket.reset(), logger });
  const folder = shortFolder(t);
  const path = `${folder}/control.sock`;
  const server = await startControlServer(fakeControlTarget(forwards), path, logger);
  t.teardown(() => server.close());
  const call = (...args: string[]): Promise<ProgramOutcome> =>
    callProgram(portferry, ['log-level', ...args], { PORTFERRY_RUNTIME_DIR: folder });
  return { call, logger, messages, path };
}

t.test('how much a running host logs is shown and changed', async (t) => {
  const { call, logger, messages } = await startHost(t);
  t.match(await call(), { code: 0, stdout: 'info\n' });
  t.match(await call('debug'), { code: 0, stdout: 'debug\n' });
  t.equal(logger.level, 'debug');
  t.match(await call('--json'), { stdout: '{\n  "level": "debug"\n}\n' });
  t.match(await call('warn', '--json'), { stdout: '{\n  "level": "warn"\n}\n' });
  t.match(await call('silent'), { code: 0, stdout: 'silent\n' });
  t.equal(logger.level, 'silent');
  t.same(messages, [
    'the log level is debug now, and was info: asked for over the control socket',
    'the log level is warn now, and was debug: asked for over the control socket',
  ]);
});

t.test('what is no level is wrong usage', async (t) => {
  const { call, logger, path } = await startHost(t);
  const levels = 'fatal, error, warn, info, debug, trace, silent';
  t.match(await call('loud'), {
    code: 2,
    stderr: `portferry: the level must be one of ${levels}, not "loud"\n`,
  });
  t.match(await call('debug', 'info'), { code: 2, stderr: /one level at a time: what is info\?/ });
  for (const body of ['{"level":"loud"}', '{}', 'null']) {
    const { status, text } = await put(path, body);
    t.equal(status, 400, body);
    t.equal(JSON.parse(text).message, `the level must be one of ${levels}: {"level":"debug"}, say`);
  }
  t.equal(logger.level, 'info');
});

function put(socketPath: string, body: string): Promise<{ status: unknown; text: string }> {
  return new Promise((resolve, reject) => {
    http
      .request({ socketPath, method: 'PUT', path: '/v1/log-level' }, async (response) =>
        resolve({ status: response.statusCode, text: Buffer.concat(await response.toArray()).toString() }),
      )
      .on('error', reject)
      .end(body);
  });
}
