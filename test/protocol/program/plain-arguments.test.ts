import t from 'tap';
import { readArguments } from '../../../protocol/program/arguments.js';
import { readPlainArguments } from '../../../protocol/program/plain-arguments.js';
import type {
  CommandDeclaration,
  ProgramDeclaration,
} from '../../../protocol/program/program-declaration.js';

const common = { describe: '', examples: [], run: async () => {} };
const OPTIONS = {
  listen: { type: 'string', describe: '' },
  hold: { type: 'number', describe: '' },
  forward: { type: 'list', describe: '' },
  docker: { type: 'string', describe: '', bare: '/docker.sock' },
  json: { type: 'boolean', describe: '' },
} as const;
const commands: CommandDeclaration[] = [
  { ...common, name: 'host', options: OPTIONS },
  { ...common, name: 'expose', options: OPTIONS, operands: { name: 'spec', describe: '', required: true } },
];
const alone: CommandDeclaration[] = [{ ...common, name: '$0', options: OPTIONS }];
const programOf = (commands: readonly CommandDeclaration[]): ProgramDeclaration => ({
  name: 'x',
  version: '1.2.3',
  describe: '',
  commands,
  examples: [],
  epilogue: '',
});

/** Beside flags and operands the other parser has fields of its own. */
function relevant(flags: Readonly<Record<string, unknown>>): object {
  const names = [...Object.keys(OPTIONS), 'config', 'spec'];
  return Object.fromEntries(names.flatMap((name) => (name in flags ? [[name, flags[name]]] : [])));
}

t.test('what is plain is read as the parser for everything reads it', (t) => {
  const lines: [commands: CommandDeclaration[], args: string[]][] = [
    [commands, ['host']],
    [commands, ['host', '--listen', 'unix:/a b', '--hold=5', '--json']],
    [commands, ['host', '--forward', '8080:80', '--forward=0x50', '--config', 'c.json']],
    [commands, ['host', '--docker', '--json']],
    [commands, ['host', '--docker']],
    [commands, ['host', '--docker=/run/d.sock', '-listen', 'unix:/x']],
    [commands, ['expose', '--docker', '8080']],
    [commands, ['expose', '8080', 'unix:/a:/b', '--json', '9090:90/udp']],
    [commands, ['expose']],
    [alone, []],
    [alone, ['-listen', '/run/x', '--json']],
  ];
  for (const [some, args] of lines) {
    const plain = readPlainArguments(some, args);
    const full = readArguments(programOf(some), args);
    if (!plain || !('command' in full)) throw new Error(`not read: ${args.join(' ')}`);
    t.equal(plain.command, full.command);
    t.same(relevant(plain.flags), relevant(full.flags), args.join(' '));
  }
  t.end();
});

t.test('all else is left to that one', (t) => {
  const lines: [commands: CommandDeclaration[], args: string[]][] = [
    [commands, []],
    [commands, ['nothing']],
    [commands, ['--help']],
    [commands, ['host', '--help']],
    [commands, ['host', '-h']],
    [commands, ['host', 'operand']],
    [commands, ['host', '--toString', 'x']],
    [commands, ['host', '--listen']],
    [commands, ['host', '--listen', '--json']],
    [commands, ['host', '--listen=']],
    [commands, ['host', '--listen', '"quoted"']],
    [commands, ['host', '--listen', 'a', '--listen', 'b']],
    [commands, ['host', '--docker=']],
    [commands, ['host', '--docker', '-x']],
    [commands, ['host', '--json', 'false']],
    [commands, ['host', '--json=1']],
    [commands, ['host', '--', '8080']],
    [commands, ['expose', '-1']],
    [commands, ['expose', "'8080'"]],
  ];
  for (const [some, args] of lines) t.equal(readPlainArguments(some, args), undefined, args.join(' '));
  t.end();
});
