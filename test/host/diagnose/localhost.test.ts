import t from 'tap';
import type { Complaint } from '../../../host/diagnose/evidence.js';
import { localhostElsewhere } from '../../../host/diagnose/localhost.js';
import type { ForwardReport } from '../../../host/records/reports.js';
import { makeForward } from './fixtures/make-path.js';

function judge(
  addresses: string[],
  localhost: string[],
  changes: Partial<ForwardReport> = {},
): Complaint | undefined {
  return localhostElsewhere({ forwards: [makeForward({ addresses, ...changes })] }, localhost);
}

t.test('localhost is ::1 alone, and the forward 127.0.0.1', async (t) => {
  t.match(judge(['127.0.0.1:8080'], ['::1']), {
    hop: 'host',
    problem: /^localhost is ::1 on this host, and tcp \*:8080 is there on 127\.0\.0\.1 only$/,
    advice: /^reach it by 127\.0\.0\.1/,
  });
  t.match(judge(['0.0.0.0:8080'], ['::1']), { problem: /127\.0\.0\.1 only/ });
  t.match(judge(['[::]:8080'], ['127.0.0.1', '127.0.1.1']), {
    problem: /127\.0\.0\.1 and 127\.0\.1\.1 .* ::1 only/,
  });
});

t.test('localhost leads to it', async (t) => {
  t.equal(judge(['127.0.0.1:8080', '[::1]:8080'], ['::1']), undefined);
  t.equal(judge(['127.0.0.1:8080'], ['::1', '127.0.0.1']), undefined);
  t.equal(judge(['0.0.0.0:8080', '[::]:8080'], ['::1']), undefined);
});

t.test('it is not to be reached by that name, or not at all', async (t) => {
  t.equal(judge(['192.168.1.5:8080'], ['::1']), undefined);
  t.equal(judge([], ['::1'], { state: 'failed' }), undefined);
  t.equal(judge(['127.0.0.1:8080'], []), undefined, 'the name could not be resolved');
  t.equal(judge(['/tmp/s'], ['::1']), undefined);
  t.equal(localhostElsewhere({ forwards: [] }, ['::1']), undefined);
});
