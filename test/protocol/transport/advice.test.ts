import t from 'tap';
import { OperationError } from '../../../protocol/errors.js';
import { handshakeAdvice, systemFailure } from '../../../protocol/transport/advice.js';

const what = 'cannot connect to unix:/x';

t.test('says what failed, the errno and what to try', async (t) => {
  const cause = Object.assign(new Error('connect ECONNREFUSED /x'), { code: 'ECONNREFUSED' });
  const error = systemFailure(what, cause);
  t.ok(error instanceof OperationError);
  t.equal(error.cause, cause);
  t.equal(error.message, `${what}: ECONNREFUSED (nothing listens there; start the end that listens first)`);
});

t.test('leaves out the advice for a rare errno', async (t) => {
  const error = systemFailure(what, Object.assign(new Error('x'), { code: 'ENOBUFS' }));
  t.equal(error.message, `${what}: ENOBUFS`);
});

t.test('passes on the message of what is no system error', async (t) => {
  t.equal(systemFailure(what, new Error('odd')).message, `${what}: odd`);
});

t.test('what helps may be something else than with sockets', async (t) => {
  const cause = Object.assign(new Error('x'), { code: 'ENOENT' });
  t.equal(systemFailure(what, cause, { ENOENT: 'install it' }).message, `${what}: ENOENT (install it)`);
});

t.test('a command that is no peer is to be tried by hand', async (t) => {
  t.match(handshakeAdvice({ kind: 'exec', command: ['x'], text: 'x' }), /^; the command .* try it by hand$/);
  t.equal(handshakeAdvice({ kind: 'unix', path: '/x' }), '');
});
