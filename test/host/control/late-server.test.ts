import t from 'tap';
import { LateLeaseServer } from '../../../host/control/late-server.js';
import type { Leases } from '../../../host/forwards/leases.js';
import type { Stream } from '../../../protocol/stream.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

t.test('a stream that comes when the host stops is refused, though nobody has come before', async (t) => {
  const server = new LateLeaseServer({} as Leases, new LogRecorder().logger);
  server.close();
  const refusals: unknown[] = [];
  await server.accept({ refuse: (...why: unknown[]) => void refusals.push(why) } as unknown as Stream);
  t.match(refusals, [['policy', { code: 'EAGAIN', message: 'the host is stopping' }]]);
});
