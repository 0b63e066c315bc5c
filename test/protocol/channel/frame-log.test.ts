import t from 'tap';
import { FrameLog } from '../../../protocol/channel/frame-log.js';
import { LogRecorder } from '../../fixtures/log-recorder.js';

t.test('a frame is a line at level trace: what it is, and none of what it carries', async (t) => {
  const log = new LogRecorder('trace');
  const frames = new FrameLog(log.logger);
  t.equal(frames.wantsFrames, true);
  const at = '2026-01-01T00:00:00.000Z';
  frames.onFrame({ at, direction: 'sent', type: 'data', stream: 3, bytes: 12 });
  frames.onFrame({ at, direction: 'received', type: 'window', stream: 3, allowed: 4096 });
  frames.onFrame({ at, direction: 'received', type: 'ping', stream: 0 });
  t.match(log.lines, [
    { streamId: 3, msg: 'sent data, 12 bytes' },
    { streamId: 3, msg: 'received window, 4096 bytes allowed since it was opened' },
    { streamId: 0, msg: 'received ping' },
  ]);
  t.equal(new FrameLog(new LogRecorder().logger).wantsFrames, false);
});
