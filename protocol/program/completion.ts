import { BUILT_IN_OPTIONS, COMMON_OPTIONS, type OptionDeclaration } from './declared-options.js';
import type { CommandDeclaration, ProgramDeclaration } from './run-program.js';

/** Shells that completion is written for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What may stand in the place of a command: --json belongs to --version. */
const WITHOUT_COMMAND = [...Object.keys(BUILT_IN_OPTIONS), 'json'];

type Program = Pick<ProgramDeclaration, 'name' | 'commands'>;

/** A script that has a shell complete a program's command line: commands, options, and values where they are known. */
export function completionScript(program: Program, shell: Shell): string {
  if (shell === 'fish') return fishScript(program);
  const script = bashScript(program);
  // zsh runs what is written for bash by a module of its own.
  return shell === 'bash'
    ? script
    : `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${script}`;
}

function bashScript({ name, commands }: Program): string {
  const cases = commands.map((command) => {
    const options = optionsOf(command).map(([option]) => `--${option}`);
    return `    ${command.name}) words=${quote([...(command.words ?? []), ...options].join(' '))} ;;`;
  });
  const values = new Map(
    commands.flatMap(optionsOf).flatMap(([option, { choices }]) => (choices ? [[option, choices]] : [])),
  );
  const choices = [...values].map(([option, words]) => `    --${option}) words=${quote(words.join(' '))} ;;`);
  return `_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  case $before in
${choices.join('\n')}
    *) case \${COMP_WORDS[1]} in
${cases.map((line) => `  ${line}`).join('\n')}
    esac
    ((COMP_CWORD == 1)) && words=${quote([...commands.map((command) => command.name), ...WITHOUT_COMMAND.map((option) => `--${option}`)].join(' '))} ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _${name} ${name}
`;
}

function fishScript({ name, commands }: Program): string {
  const lines = [`complete -c ${name} -n __fish_use_subcommand -f`];
  for (const command of commands) {
    lines.push(
      `complete -c ${name} -n __fish_use_subcommand -a ${command.name} -d ${quote(command.describe)}`,
    );
    const after = `complete -c ${name} -n ${quote(`__fish_seen_subcommand_from ${command.name}`)}`;
    if (command.words) lines.push(`${after} -a ${quote(command.words.join(' '))}`);
    for (const [option, { describe, short, type, choices }] of optionsOf(command)) {
      const value = choices ? ` -x -a ${quote(choices.join(' '))}` : type === 'boolean' ? '' : ' -r';
      const letter = short === undefined ? '' : ` -s ${short}`;
      lines.push(`${after}${letter} -l ${option}${value} -d ${quote(describe)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function optionsOf({ options }: CommandDeclaration): [string, OptionDeclaration][] {
  return Object.entries({ ...options, ...COMMON_OPTIONS });
}

/** For a shell: what stands between single quotes is taken as it is. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
