import t from 'tap';
import {
  type ForwardMatcher,
  matcherFromVpnkit,
  parseSpecMatcher,
} from '../../../host/rule/forward-matcher.js';
import { formatRule, parseSpec } from '../../../host/rule/forward-spec.js';
import { UsageError } from '../../../protocol/errors.js';

const RULES = [
  '8080:80',
  '127.0.0.1:8081:80',
  '*:8082:80',
  '0.0.0.0:8083:80',
  '[::]:8084:80',
  '10.0.0.1:8080:81',
  '8080:53/udp/idle=5',
  'unix:/a:/b',
].flatMap(parseSpec);

function found({ matches, hostEnds }: ForwardMatcher): string[] {
  const meant = RULES.filter(matches);
  for (const rule of meant)
    t.ok(hostEnds.includes(`${rule.proto} ${rule.proto === 'unix' ? rule.hostPath : rule.hostPort}`));
  return meant.map(formatRule);
}

t.test('a SPEC means every forward of its port; an address and a guest end narrow it', async (t) => {
  const [web, other, every, four, six, ten, dns, socket] = RULES.map(formatRule);
  const cases: [spec: string, meant: (string | undefined)[]][] = [
    ['8080', [web, ten]],
    ['8080:80', [web]],
    ['8080:81', [ten]],
    ['8080:8080', []],
    ['8080-8082', [web, other, every, ten]],
    ['8080-8082:80-82', [web]],
    ['8081-8083:79-81', [every]],
    ['127.0.0.1:8080', [web]],
    ['localhost:8080', [web]],
    ['localhost:8081', [other]],
    ['[::1]:8080', []],
    ['10.0.0.1:8080', [ten]],
    ['10.0.0.1:8080:127.0.0.1:80', []],
    ['*:8082', [every]],
    ['0.0.0.0:8082', [every]],
    ['*:8083', [four]],
    ['[::]:8082', []],
    ['[0::0]:8084', [six]],
    ['*:8080', []],
    ['8080/udp', [dns]],
    ['8080:53/udp', [dns]],
    ['8080:54/udp', []],
    ['unix:/a', [socket]],
    ['unix:/a:/b', [socket]],
    ['unix:/a:/c', []],
    ['unix:/b', []],
  ];
  for (const [spec, meant] of cases) t.same(found(parseSpecMatcher(spec)), meant, spec);
  t.equal(parseSpecMatcher('8080').text, '8080');
  for (const wrong of ['nonsense', '8080-8082:80', 'unix:a', 'unix:/a:b'])
    t.throws(() => parseSpecMatcher(wrong), UsageError, wrong);
});

t.test('a vpnkit client means the one at its address', async (t) => {
  const [web, , every, four, , , dns, socket] = RULES.map(formatRule);
  const cases: [body: object, meant: (string | undefined)[]][] = [
    [{ proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080, in_port: 80 }, [web]],
    [{ proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080 }, [web]],
    [{ proto: 'tcp', out_ip: '::ffff:127.0.0.1', out_port: 8080 }, [web]],
    [{ proto: 'tcp', out_ip: '127.0.0.1', out_port: 8080, in_port: 81 }, []],
    [{ proto: 'tcp', out_port: 8082 }, [every]],
    [{ proto: 'tcp', out_ip: '0.0.0.0', out_port: 8082 }, [every]],
    [{ proto: 'tcp', out_ip: '', out_port: 8083, in_path: null }, [four]],
    [{ proto: 'tcp', out_port: 8080 }, []],
    [{ proto: 'tcp' }, []],
    [{ proto: 'udp', out_ip: '127.0.0.1', out_port: 8080, in_port: 53 }, [dns]],
    [{ proto: 'unix', out_path: '/a' }, [socket]],
    [{ proto: 'unix', out_path: '/a', in_path: '/c' }, []],
  ];
  for (const [body, meant] of cases) t.same(found(matcherFromVpnkit(body)), meant, JSON.stringify(body));
  t.throws(() => matcherFromVpnkit({ proto: 'unix' }), UsageError);
});
