import t, { type Test } from 'tap';
import { portferry } from '../../../host/cli/program.js';
import { completionScript } from '../../../protocol/program/completion.js';
import { callProgram } from '../../fixtures/call-program.js';
import { requireProgram, run } from '../../fixtures/programs.js';

/** What bash offers behind these words. */
async function offered(t: Test, ...words: string[]): Promise<string[]> {
  const { stdout } = await callProgram(portferry, ['completion', 'bash']);
  const script = `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _portferry; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return (await run(t, 'bash', '-c', script, 'bash', 'portferry', ...words)).output.split('\n');
}

t.test('bash completes commands, options, words and values', async (t) => {
  if (requireProgram(t, 'bash') === undefined) return;
  t.same(await offered(t, 'ex'), ['expose']);
  t.same(await offered(t, '--v'), ['--version']);
  t.same(await offered(t, 'host', '--ho'), ['--hold']);
  t.same(await offered(t, 'service', 'un'), ['uninstall']);
  t.same(await offered(t, 'host', '--log-level', 'de'), ['debug']);
  t.same(await offered(t, 'completion', 'z'), ['zsh']);
});

t.test('zsh loads what it is given', async (t) => {
  if (requireProgram(t, 'zsh', true) === undefined) return;
  const { stdout } = await callProgram(portferry, ['completion', 'zsh']);
  t.match(stdout, /bashcompinit\n_portferry\(\)/);
  t.match(await run(t, 'zsh', '-f', '-c', `${stdout}\nprint $+functions[_portferry]`), { output: /1$/ });
});

t.test('fish, and what is none of them', async (t) => {
  t.match(completionScript(portferry, 'zsh'), /bashcompinit\n_portferry\(\)/);
  const fish = completionScript(portferry, 'fish');
  t.match(fish, "complete -c portferry -n '__fish_seen_subcommand_from host' -l log-level -x -a 'fatal");
  t.match(fish, "-l hold -r -d 'Seconds");
  t.match(fish, "-l json -d 'Print one JSON document'");
  t.match(fish, "-d 'Path of the host'\\''s control socket'");
  t.equal((await callProgram(portferry, ['completion', 'fish'])).stdout, fish);
  for (const words of [['tcsh'], ['bash', 'zsh']])
    t.match(await callProgram(portferry, ['completion', ...words]), {
      code: 2,
      stderr: `portferry: completion is for one of bash, zsh, fish, not for ${words.join(' ')}\n`,
    });
});
