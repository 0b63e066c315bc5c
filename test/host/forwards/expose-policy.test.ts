import t from 'tap';
import { ExposePolicy, parseAllowExpose } from '../../../host/forwards/expose-policy.js';
import { parseSpec } from '../../../host/rule/forward-spec.js';
import { UsageError } from '../../../protocol/errors.js';

const FOLDER = '/run/portferry/sockets';

/** Why the rules do not allow a SPEC. */
function refusal(rules: string[], spec: string): string | undefined {
  const policy = new ExposePolicy({ rules: parseAllowExpose(rules), socketsFolder: FOLDER });
  const refusals = parseSpec(spec).map((rule) => policy.refusalOf(rule));
  return refusals.find((refused) => refused)?.message;
}

t.test('without rules: every port, and sockets directly in their folder', async (t) => {
  for (const spec of ['80', '0:80', '*:80', '[::]:53/udp', '[fe80::1%eth0]:8080:80', `unix:${FOLDER}/a:/b`])
    t.equal(refusal([], spec), undefined, spec);
  for (const path of [
    '/etc/passwd',
    FOLDER,
    `${FOLDER}/`,
    `${FOLDER}/a/`,
    `${FOLDER}/a/b`,
    `${FOLDER}/../a`,
    `${FOLDER}/..`,
    `${FOLDER}/.`,
    `${FOLDER}/b/../a`,
    `${FOLDER}//a`,
    `${FOLDER}2/a`,
  ])
    t.equal(
      refusal([], `unix:${path}:/b`),
      `the host's policy does not allow unix ${path}: without --allow-expose, sockets can only be directly in ${FOLDER}`,
    );
});

t.test('with rules: what each of its addresses and its port are allowed by', async (t) => {
  const cases: [rules: string[], allowed: string[], refused: string[]][] = [
    [
      ['127.0.0.1:8000-8999'],
      ['127.0.0.1:8080:80'],
      ['127.0.0.1:80', '127.0.0.1:0:80', '8080:80', '*:8080:80'],
    ],
    [
      ['127.0.0.1', '[::1]'],
      ['80', '0:80', '127.0.0.1:9:9/udp'],
      ['*:80', '10.0.0.1:80:80'],
    ],
    [[':8080/tcp'], ['*:8080'], ['8080/udp', `unix:${FOLDER}/a:/b`]],
    [['[fe80::]/10'], ['[fe80::1%eth0]:8080:80'], ['[::1]:8080:80']],
    [['unix:/srv/*'], ['unix:/srv/a/b:/c'], ['unix:/srv/../etc/a:/c', '80', `unix:${FOLDER}/a:/b`]],
  ];
  for (const [rules, allowed, refused] of cases) {
    for (const spec of allowed) t.equal(refusal(rules, spec), undefined, `${rules}: ${spec}`);
    for (const spec of refused)
      t.match(refusal(rules, spec), /^the host's policy does not allow /, `${rules}: ${spec}`);
  }
  t.equal(
    refusal(['127.0.0.1:8000-8999', '[::1]'], '0.0.0.0:22:22'),
    "the host's policy does not allow tcp 0.0.0.0:22: --allow-expose has only 127.0.0.1:8000-8999, [::1]",
  );
});

t.test('none allows nothing', async (t) => {
  for (const spec of ['8080', `unix:${FOLDER}/a:/b`])
    t.match(refusal(['none'], spec), /: --allow-expose is none$/);
  t.throws(() => parseAllowExpose(['none', ':80']), UsageError);
  t.throws(
    () => parseAllowExpose(['x']),
    new UsageError(
      "'x' is not a rule of --allow-expose: 'x' is no IP address; such as 127.0.0.1:8080, 10.0.0.0/8:80-90/tcp, [::1], :8080 or unix:/run/*",
    ),
  );
});
