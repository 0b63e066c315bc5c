import t from 'tap';
import { DockerCommand } from '../../../../host/up/engine/docker-command.js';
import { FakeDocker } from '../../../fixtures/fake-docker.js';

t.test('gives back what docker has said, and how it ended', async (t) => {
  const fake = new FakeDocker(t);
  fake.answer({ hello: { code: 3, stdout: 'out\n', stderr: 'err\n' }, fine: { stdout: 'well\n' } });
  const docker = new DockerCommand(fake.call);
  t.same(await docker.run(['hello', 'a b', "'$HOME'"]), { code: 3, stdout: 'out\n', stderr: 'err\n' });
  t.same(fake.calls, ["hello a b '$HOME'"], 'no shell is in between');
  t.equal(await docker.must('cannot do it', ['fine']), 'well');
  await t.rejects(docker.must('cannot do it', ['hello']), {
    name: 'OperationError',
    message: 'cannot do it: docker says: err',
  });
});

t.test('a docker that a signal has ended has failed', async (t) => {
  const docker = new DockerCommand(['sh', '-c', 'kill -9 $$']);
  t.equal((await docker.run([])).code, -1);
});

t.test('says when there is none, and when it cannot be run', async (t) => {
  await t.rejects(new DockerCommand(['no-such-docker']).run(['info']), {
    name: 'OperationError',
    message: /^there is no no-such-docker command on the PATH: install the Docker CLI/,
  });
  await t.rejects(new DockerCommand(['/dev/null']).run(['info']), {
    message: /^the \/dev\/null command cannot be run: .*EACCES/,
  });
});

t.test('one that does not end is ended, after a while or when it is to stop', async (t) => {
  const fake = new FakeDocker(t);
  fake.answer({ pull: { hang: true } });
  const docker = new DockerCommand(fake.call);
  await t.rejects(docker.run(['pull'], { timeoutMs: 1 }), {
    message: /^docker pull has not ended within 0\.001 s: is the engine stuck\?/,
  });
  const abort = new AbortController();
  const call = docker.run(['pull'], { signal: abort.signal, timeoutMs: 0 });
  abort.abort();
  await t.rejects(call, { message: 'docker pull was given up' });
  await t.rejects(docker.run(['pull'], { signal: abort.signal }), { message: 'docker pull was given up' });
});
