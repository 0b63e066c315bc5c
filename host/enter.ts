import { messageOf } from '../protocol/errors.js';
import { readPlan, setFailure } from './up/engine/engine-plan.js';
import { enterContainer } from './up/engine/enter-container.js';

/** What the host runs to reach the guest in an engine's container. argv: the path of the plan. */
const plan = readPlan(process.argv[2] ?? '');
enterContainer(plan, process.stderr).catch((thrown) => {
  setFailure(plan.folder, messageOf(thrown));
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 1;
});
