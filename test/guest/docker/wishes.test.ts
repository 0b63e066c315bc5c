import t from 'tap';
import { MAX_PROBLEMS, readLabelWishes, wishesFor } from '../../../guest/docker/wishes.js';
import { makeContainer, makePort } from './fixtures/make-container.js';

const read = (labels: Record<string, string>) => readLabelWishes(makeContainer({ labels }));

t.test('without labels of ours nothing is wished', async (t) => {
  const labels = read({ 'com.example': 'x', portferry: 'y' });
  t.match(labels, { publish: true, problems: [] });
  t.same(wishesFor(makePort(), labels), {});
});

t.test('labels say how a container is published', async (t) => {
  const labels = read({
    'portferry.publish': 'true',
    'portferry.host-address': '127.0.0.1',
    'portferry.proxy-protocol': 'v1',
    'portferry.proxy-protocol.443': 'v2',
    'portferry.idle': '30',
  });
  t.match(labels, { publish: true, problems: [] });
  const common = { hostAddresses: ['127.0.0.1'], idleSeconds: 30 };
  t.same(wishesFor(makePort({ privatePort: 80 }), labels), { ...common, proxyVersion: 1 });
  t.same(wishesFor(makePort({ privatePort: 443 }), labels), { ...common, proxyVersion: 2 });
  t.equal(read({ 'portferry.publish': 'false' }).publish, false);
});

t.test('host addresses', async (t) => {
  const addressesOf = (value: string) => read({ 'portferry.host-address': value }).hostAddresses;
  t.same(addressesOf('*'), ['0.0.0.0', '::']);
  t.same(addressesOf('localhost'), ['127.0.0.1', '::1']);
  t.same(addressesOf('0::1'), ['::1']);
});

t.test('a label that is not understood is named, with what is right, and has no effect', async (t) => {
  const wrong: [string, string, RegExp][] = [
    ['portferry.publish', 'no', /it is true or false$/],
    ['portferry.host-address', 'example.org', /it is an IP address, localhost, or \*/],
    ['portferry.proxy-protocol', '2', /it is v1 or v2$/],
    ['portferry.proxy-protocol.80', '', /it is v1 or v2$/],
    ['portferry.proxy-protocol.http', 'v1', /known are .*portferry\.proxy-protocol\.PORT/],
    ['portferry.idle', '0', /from 1 to 86400$/],
    ['portferry.idle', '90000', /from 1 to 86400$/],
    ['portferry.idle', 'long', /from 1 to 86400$/],
    ['portferry.hots-address', '*', /known are portferry\.publish, portferry\.host-address/],
  ];
  for (const [label, value, right] of wrong) {
    const labels = read({ [label]: value });
    t.match(labels.problems, [right]);
    t.ok(labels.problems[0]?.startsWith(`the label ${label}=${value} is not understood: `));
    t.ok(labels.publish);
    t.same(wishesFor(makePort(), labels), {});
  }
});

t.test('of thousands of wrong labels few are told, and not in full length', async (t) => {
  const long = 'x'.repeat(100_000);
  const names = Array.from({ length: 1_000 }, (_, index) => [`portferry.${index}${long}`, long]);
  const { problems } = read(Object.fromEntries(names));
  t.equal(problems.length, MAX_PROBLEMS + 1);
  t.match(problems[0], /^the label portferry\.0x{88}…=x{99}… is not understood: known are/);
  t.equal(problems.at(-1), '990 more labels of it cannot be understood');
});
