import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import t from 'tap';
import { type HostingProcess, runProcess } from '../../../protocol/program/run-process.js';
import { defineCommand, type ProgramDeclaration } from '../../../protocol/program/run-program.js';
import { TextSink } from '../../fixtures/call-program.js';

/** A process that only says with which code it would have ended. */
class FakeProcess extends EventEmitter implements HostingProcess {
  readonly argv = ['node', 'main.js', 'say', 'hello'];
  readonly env = {};
  readonly stderr = new TextSink();
  readonly stdout: Writable;
  readonly exited: Promise<number>;
  exit: (code: number) => void = () => {};

  constructor(stdout: Writable) {
    super();
    this.stdout = stdout;
    this.exited = new Promise((resolve) => {
      this.exit = resolve;
    });
  }
}

const program: ProgramDeclaration = {
  name: 'ferry',
  version: '1.2.3',
  describe: '',
  examples: [],
  epilogue: '',
  commands: [
    defineCommand({
      name: 'say',
      describe: '',
      operands: { name: 'word', describe: '', required: true },
      options: {},
      examples: [],
      async run(_values, words, { stdout }) {
        for (const word of words) stdout.write(word);
        stdout.write('!');
      },
    }),
  ],
};

/** Fails what is written, with this code. */
function failing(code: string): Writable {
  return new Writable({
    autoDestroy: false,
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(`${code}: no`), { code })),
  });
}

t.test('ends when everything that was written has been taken', async (t) => {
  const taken: string[] = [];
  const waiting: (() => void)[] = [];
  const slow = new Writable({
    write: (chunk, _encoding, done) => {
      taken.push(String(chunk));
      waiting.push(done);
    },
  });
  const self = new FakeProcess(slow);
  let code: number | undefined;
  void self.exited.then((value) => {
    code = value;
  });
  const ran = runProcess(program, self);
  while (taken.join('') !== 'hello!') {
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(code, undefined);
    waiting.shift()?.();
  }
  for (const done of waiting) done();
  waiting.length = 0;
  const finish = setInterval(() => waiting.shift()?.());
  await ran;
  clearInterval(finish);
  t.equal(await self.exited, 0);
});

t.test('a reader that has gone is no failure', async (t) => {
  const self = new FakeProcess(failing('EPIPE'));
  await runProcess(program, self);
  t.equal(await self.exited, 0);
  t.equal(self.stderr.text, '');
});

t.test('what cannot be written is a failure, told once', async (t) => {
  const self = new FakeProcess(failing('ENOSPC'));
  await runProcess(program, self);
  t.equal(await self.exited, 1);
  t.equal(self.stderr.text, 'ferry: cannot write to standard output: ENOSPC: no\n');
});

t.test('ends with the code of the program, also where nobody can be told why', async (t) => {
  const self = new FakeProcess(new TextSink());
  self.argv.splice(2);
  Object.defineProperty(self, 'stderr', { value: failing('EPIPE') });
  await runProcess(program, self);
  t.equal(await self.exited, 2);
});
