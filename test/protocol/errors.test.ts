import t from 'tap';
import { errnoOf, messageOf, OperationError, ProtocolError, UsageError } from '../../protocol/errors.js';

t.test('each class says by its name how to react', (t) => {
  t.match(new UsageError('port 0 is none'), { name: 'UsageError', message: 'port 0 is none' });
  t.match(new OperationError('no channel'), { name: 'OperationError', message: 'no channel' });
  t.match(new ProtocolError('FRAME_LENGTH', '3 bytes'), {
    name: 'ProtocolError',
    code: 'FRAME_LENGTH',
    message: '3 bytes',
  });
  for (const error of [new UsageError(''), new OperationError(''), new ProtocolError('PEER_SILENT', '')])
    t.ok(error instanceof Error);
  t.end();
});

t.test('messageOf takes whatever was thrown', (t) => {
  t.equal(messageOf(new Error('why')), 'why');
  t.equal(messageOf('why'), 'why');
  t.equal(messageOf(undefined), 'undefined');
  t.end();
});

t.test('errnoOf knows system errors only', (t) => {
  t.equal(errnoOf(Object.assign(new Error(), { code: 'ECONNREFUSED' })), 'ECONNREFUSED');
  t.equal(errnoOf(Object.assign(new Error(), { code: 'E2BIG' })), 'E2BIG');
  t.equal(errnoOf(Object.assign(new Error(), { code: 'ERR_INVALID_ARG_TYPE' })), undefined);
  t.equal(errnoOf(Object.assign(new Error(), { code: 7 })), undefined);
  t.equal(errnoOf(new Error('plain')), undefined);
  t.equal(errnoOf(undefined), undefined);
  t.equal(errnoOf(null), undefined);
  t.end();
});
