import t from 'tap';
import { explainDocker, quoteDocker } from '../../../../host/up/engine/docker-failure.js';

t.test('docker says why, in its own words, as one line', async (t) => {
  const stderr = `docker: Error response from daemon: something is wrong.
See 'docker run --help'.

Run 'docker create --help' for more information
Error: it failed\n`;
  t.equal(quoteDocker(stderr), 'something is wrong.; it failed');
  t.equal(quoteDocker('x'.repeat(1_000)), `${'x'.repeat(400)} …`);
  t.equal(explainDocker('cannot do it', stderr), 'cannot do it: docker says: something is wrong.; it failed');
  t.equal(explainDocker('cannot do it', ' \n'), 'cannot do it: docker has not said why');
});

t.test('what docker says that has a known remedy', async (t) => {
  // As docker 20.10 and 28, and podman 4.3, write it.
  const cases: [said: string, advice: string][] = [
    [
      'Failed to initialize: unable to resolve docker endpoint: context "x": context not found: open /root/.docker/contexts/meta/1/meta.json: no such file or directory',
      'docker context ls lists',
    ],
    ['Current context "x" is not found on the file system', 'docker context ls lists'],
    [
      'Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/info": dial unix /var/run/docker.sock: connect: permission denied',
      'this user may not use',
    ],
    [
      'permission denied while trying to connect to the docker API at unix:///var/run/docker.sock',
      'this user may not use',
    ],
    [
      'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?',
      'no engine answers; start it',
    ],
    ['failed to connect to the docker API at unix:///x; check if the path is correct', 'no engine answers'],
    [
      'error during connect: Get "http://docker.example.com/v1.50/info": command [ssh -- 127.0.0.1 docker system dial-stdio] has exited with exit status 255',
      'no engine answers',
    ],
    [
      'Error response from daemon: invalid mount config for type "bind": bind source path does not exist: /var/run/docker.sock',
      '--engine-socket PATH',
    ],
    ['Error: statfs /var/run/docker.sock: no such file or directory', '--engine-socket PATH'],
    [
      'docker: Error response from daemon: OCI runtime create failed: container_linux.go:367: starting container process caused: exec: "node": executable file not found in $PATH: unknown.',
      'the image has no node',
    ],
    ['exec /usr/local/bin/node: exec format error', 'the image is for another processor'],
    ['write /var/lib/docker/tmp/1: no space left on device', 'docker system prune'],
    [
      'Error response from daemon: privileged mode is incompatible with user namespaces',
      'does not allow a privileged container',
    ],
  ];
  for (const [said, advice] of cases) {
    const sentence = explainDocker('cannot do it', said);
    t.match(sentence, `cannot do it: `);
    t.match(sentence, advice, said);
    t.match(sentence, /\(docker says: .+\)$/);
  }
});
