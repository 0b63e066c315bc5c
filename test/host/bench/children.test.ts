import t from 'tap';
import { Child } from '../../../protocol/program/child.js';

const shell = (script: string, log: (line: string) => void = () => {}): Child =>
  new Child({ name: 'the program', command: ['/bin/sh', '-c', script] }, log);

t.test('what a program has started ends with it, and does not hold up its end', async (t) => {
  t.equal(
    await shell('sleep 1000 & echo "it is over" >&2; exit 3').ended,
    'the program ended with exit code 3: it is over',
  );
});

t.test('a program that is stopped by force takes along what it has started', async (t) => {
  const script = 'trap "" TERM; sleep 1000 & echo ready >&2; wait; sleep 1000';
  const { child } = await new Promise<{ child: Child }>((resolve) => {
    const child: Child = shell(script, () => resolve({ child }));
  });
  await child.stop(1);
  t.equal(await child.ended, 'the program ended by SIGKILL: ready');
});

t.test('any number of programs is watched for by one listener', async (t) => {
  const before = process.listenerCount('exit');
  const children = Array.from({ length: 3 }, () => shell('exec sleep 1000'));
  t.equal(process.listenerCount('exit'), before + 1);
  await Promise.all(children.map((child) => child.stop(60_000)));
  t.equal(process.listenerCount('exit'), before);
});

t.test('a program that could not be started is not there to be killed', async (t) => {
  const child = new Child({ name: 'the program', command: ['/nowhere/at/all'] }, () => {});
  await child.ended;
  t.doesNotThrow(() => child.kill());
});
