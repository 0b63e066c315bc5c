import { messageOf } from '../../../protocol/errors.js';
import { readPlan } from './engine-plan.js';
import { enterContainer } from './enter-container.js';

/** What the host runs to reach the guest in an engine's container. argv: the path of the plan. */
try {
  process.exitCode = await enterContainer(readPlan(process.argv[2] ?? ''), process.stderr);
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 1;
}
