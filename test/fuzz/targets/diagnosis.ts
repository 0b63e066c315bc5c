import { drawPath } from '../../../host/cli/path-picture.js';
import { judge } from '../../../host/diagnose/doctor.js';
import { hopsOf } from '../../../host/diagnose/hops.js';
import { parsePathQuestion } from '../../../host/diagnose/path.js';
import { remarksOn } from '../../../host/diagnose/remarks.js';
import { UsageError } from '../../../protocol/errors.js';
import { readWayReport } from '../../../protocol/services/way-answer.js';
import { makeContainer, makeForward, makePath, makeWay } from '../../host/diagnose/fixtures/make-path.js';
import { allow, byName } from '../target.js';

const FACTS = { version: '1.0.0', platform: 'linux', clients: 1, maxClients: 10 } as const;

/** A host with the forward, without any, and one that another program has the port of. */
const HOSTS = [
  {},
  { forwards: [] },
  { forwards: [makeForward({ in_ip: '127.0.0.1', destination: 'tcp 127.0.0.1:8080' })] },
  { forwards: [], listeners: { found: [{ proto: 'tcp', ip: '::', port: 8080, pid: 9, command: 'ssh' }] } },
] as const;

/** What a guest says of a way, as it is judged and shown. */
export const diagnosis = byName(
  {
    way(text) {
      const way = allow([UsageError, SyntaxError], () => readWayReport(JSON.parse(text)));
      if (!way) return;
      for (const host of HOSTS) {
        const path = makePath({ ...(host as object), guest: { found: way } });
        const complaint = judge({ path, facts: FACTS });
        const shown = [drawPath(path), ...hopsOf(path).map((hop) => hop.text), ...remarksOn(path, FACTS)];
        const said = complaint ? [complaint.problem, complaint.advice] : [];
        for (const line of [...shown, ...said])
          if (typeof line !== 'string' || /\p{Cc}/u.test(line.replaceAll('\n', '')))
            throw new Error(`this is shown: ${JSON.stringify(line)}`);
      }
    },
    question(text) {
      allow([UsageError], () => parsePathQuestion(text));
    },
  },
  {
    way: [
      {},
      { container: { found: makeContainer({ state: 'exited', exitCode: 3, error: 'no' }) } },
      { container: { found: null }, candidates: [{ id: '1', name: 'a' }] },
      { inside: { found: [] }, rivals: [{ id: '2', name: 'b', port: 8080 }] },
      { drops: { found: [{ by: 'nft', chain: 'c', rule: 'drop', packets: 3 }] }, dnat: { found: [] } },
    ].map((changes) => JSON.stringify({ ...makeWay(), ...changes })),
    question: ['8080', '53/udp', 'unix:/a', 'web'],
  },
);
