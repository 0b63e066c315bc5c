import t from 'tap';
import { findLinkedGateways } from '../../../guest/docker/links.js';
import { WITHOUT_IPV6 } from '../../fixtures/ipv6.js';
import { makeContainer } from './fixtures/make-container.js';

/** The gateways, of these, into whose networks this machine has a link. */
async function linked(...endpoints: [address: string, gateway: string][]): Promise<string[]> {
  const containers = endpoints.map(([address, gateway]) =>
    makeContainer({ endpoints: [{ address, gateway }] }),
  );
  return [...(await findLinkedGateways(containers))];
}

t.test('a link is there where packets to the container leave with the address of the gateway', async (t) => {
  t.same(await linked(['127.0.0.2', '127.0.0.1'], ['127.0.0.3', '127.0.0.1']), ['127.0.0.1']);
  t.same(await linked(['127.0.0.2', '192.0.2.1'], ['192.0.2.2', '192.0.2.1']), []);
  t.same(await linked(), []);
});

t.test('there is none to where nothing can be sent', async (t) => {
  t.same(await linked(['255.255.255.255', '127.0.0.1']), []);
});

t.test('IPv6', { skip: WITHOUT_IPV6 }, async (t) => {
  t.same(await linked(['::1', '::1'], ['2001:db8::2', '2001:db8::1']), ['::1']);
});
