import { UsageError } from '../../protocol/errors.js';
import { completionScript, SHELLS } from '../../protocol/program/completion.js';
import { type CommandDeclaration, defineCommand } from '../../protocol/program/run-program.js';

/** `portferry completion` @param commands all others */
export function makeCompletionCommand(commands: readonly CommandDeclaration[]): CommandDeclaration {
  const command: CommandDeclaration = defineCommand({
    name: 'completion',
    describe: 'Print what has a shell complete this command line',
    operands: { name: 'shell', describe: SHELLS.join(', '), required: true },
    words: SHELLS,
    options: {},
    examples: [
      ['eval "$($0 completion bash)"', 'in ~/.bashrc'],
      ['eval "$($0 completion zsh)"', 'in ~/.zshrc'],
      ['$0 completion fish > ~/.config/fish/completions/portferry.fish', 'once'],
    ],
    async run(_values, [wanted, ...rest], { stdout }) {
      const shell = SHELLS.find((name) => name === wanted);
      if (!shell || rest.length > 0)
        throw new UsageError(
          `completion is for one of ${SHELLS.join(', ')}, not for ${[wanted, ...rest].join(' ')}`,
        );
      stdout.write(completionScript({ name: 'portferry', commands: [...commands, command] }, shell));
    },
  });
  return command;
}
