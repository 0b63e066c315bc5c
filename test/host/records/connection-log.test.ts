import t from 'tap';
import { ConnectionLog } from '../../../host/records/connection-log.js';
import { type Cause, closed, endedByHost, streamEnded } from '../../../host/records/ending.js';
import { Records } from '../../../host/records/records.js';
import { LogLimiter } from '../../../protocol/program/log-limiter.js';
import { createLogger } from '../../../protocol/program/logger.js';
import { fakeCarrier } from '../../fixtures/fake-carrier.js';
import { fakeForward } from '../../fixtures/fake-forward.js';
import { DEBUG, INFO, LogRecorder, WARN } from '../../fixtures/log-recorder.js';

const NOBODY = { client: undefined, listener: undefined };
const REFUSED = streamEnded(
  {
    how: 'refused',
    result: { step: 'dial', micros: 1, reason: { code: 'ECONNREFUSED', message: 'nobody there' } },
  },
  'tcp 127.0.0.1:80',
);
const LOST = streamEnded({ how: 'lost', reason: { code: 'PEER_SILENT', message: 'silent' } }, '');
const HELD: Cause = {
  outcome: 'failed',
  by: 'channel',
  how: 'timeout',
  code: 'NO_CHANNEL',
  message: 'no channel',
};

class Bench {
  readonly log = new LogRecorder();
  readonly limiter = new LogLimiter(this.log.logger);
  readonly records = new Records();
  readonly connectionLog = new ConnectionLog(this.log.logger, this.limiter);

  constructor() {
    this.records.observe(this.connectionLog);
  }

  /** A connection that ends; one that has no stream waits for a channel. */
  end(cause: Cause, { spec = '8080:80', stream = true } = {}): void {
    const record = this.records.begin(fakeForward(spec), NOBODY);
    if (stream) record.streamOpened(7, fakeCarrier());
    record.ended(cause);
  }
}

t.test('one line says what has become of a connection, and why', async (t) => {
  const bench = new Bench();
  const { lines } = bench.log;
  bench.end(closed('client'));
  bench.end(closed('server'));
  bench.end(REFUSED);
  bench.end(LOST);
  bench.end(LOST, { spec: '53:53/udp' });
  bench.end(endedByHost({ code: 'EMFILE', message: 'too many' }), { stream: false });
  bench.end(endedByHost({ code: 'STOPPED', message: 'told to stop' }), { stream: false });
  const common = { forward: 'tcp localhost:8080', destination: 'tcp 127.0.0.1:80' };
  t.match(lines, [
    {
      level: DEBUG,
      ...common,
      streamId: 7,
      termination: '--',
      msg: 'connection closed: the client ended the connection',
    },
    {
      level: INFO,
      ...common,
      termination: 'SE',
      msg: 'empty reply: the server ended the connection without having sent a byte',
    },
    {
      level: WARN,
      ...common,
      termination: 'SC',
      errno: 'ECONNREFUSED',
      msg: /^client reset: the guest could not reach.*; see portferry doctor 8080$/,
    },
    {
      level: DEBUG,
      ...common,
      termination: 'XC',
      code: 'PEER_SILENT',
      msg: 'client reset: the channel was lost: silent',
    },
    { level: DEBUG, termination: 'XC', msg: 'flow ended: the channel was lost: silent' },
    {
      level: WARN,
      ...common,
      termination: 'HW',
      errno: 'EMFILE',
      msg: 'client reset: too many; see portferry doctor 8080',
    },
    { level: INFO, ...common, termination: 'HW', code: 'STOPPED', msg: 'client reset: told to stop' },
  ]);
  t.notOk('streamId' in (lines[5] ?? {}));
});

for (const spec of ['8080:80', '53:53/udp'])
  t.test(`equal refusals of ${spec} are summed up, whatever their number`, async (t) => {
    const bench = new Bench();
    for (let count = 0; count < 1000; count++) bench.end(REFUSED, { spec });
    t.equal(bench.log.lines.length, 3);
    bench.end(REFUSED, { spec: '9090:80' });
    t.equal(bench.log.lines.length, 4, 'another forward is another matter');
    bench.limiter.flush();
    t.equal(bench.log.lines.length, 5);
    t.match(bench.log.lines[4], { level: WARN, more: 997, errno: 'ECONNREFUSED', msg: /997 more like it/ });
  });

t.test('an outage is warned of once, and the next one again', async (t) => {
  const bench = new Bench();
  for (let count = 0; count < 3; count++) bench.end(HELD, { stream: false });
  t.match(bench.log.lines, [
    { level: WARN, termination: 'xW', msg: 'clients are reset: no channel' },
    { level: DEBUG, msg: 'client reset: no channel' },
    { level: DEBUG, msg: 'client reset: no channel' },
  ]);
  t.equal(bench.connectionLog.toll(), '3 clients were reset');
  bench.connectionLog.onChannelUp();
  t.equal(bench.connectionLog.toll(), undefined);
  bench.end(HELD, { stream: false });
  t.match(bench.log.lines[3], { level: WARN, msg: /^clients are reset/ });
});

t.test('what is not logged costs no line', async (t) => {
  let lines = 0;
  const logger = createLogger('info', { write: () => void lines++ });
  const records = new Records();
  records.observe(new ConnectionLog(logger, new LogLimiter(logger)));
  records.begin(fakeForward(), NOBODY).ended(closed('client'));
  t.equal(lines, 0);
});

t.test('an outage that cuts connections has its toll', async (t) => {
  const bench = new Bench();
  bench.end(LOST);
  t.equal(bench.connectionLog.toll(), '1 connection was cut');
  bench.end(LOST);
  bench.end(HELD, { stream: false });
  t.equal(bench.connectionLog.toll(), '2 connections were cut, and 1 client was reset');
});

t.test('a client of a unix socket sees no reset: the log tells of it', async (t) => {
  const bench = new Bench();
  bench.end(LOST, { spec: 'unix:/a:/b' });
  t.match(bench.log.lines, [{ msg: /^client closed \(a unix socket knows no reset/ }]);
});

t.test('where more can be found out of a failed flow, and of a path', async (t) => {
  const bench = new Bench();
  bench.end(REFUSED, { spec: '53:53/udp' });
  bench.end(REFUSED, { spec: 'unix:/a:/b' });
  t.match(bench.log.lines[0], { msg: /; see portferry doctor 53\/udp$/ });
  t.notMatch(bench.log.lines[1]?.msg, /doctor/);
});
