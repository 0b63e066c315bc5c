import t from 'tap';
import { withPodmanPorts } from '../../../guest/docker/podman.js';

const mapping = { host_ip: '127.0.0.1', host_port: 8082, container_port: 80, range: 3, protocol: 'tcp' };

function portsOf(...ports: unknown[]): unknown {
  const answer = [{ Id: 'a', Names: ['/web'], Ports: [{ PublicPort: 1 }] }];
  const [container] = withPodmanPorts(answer, [{ Id: 'a', Ports: ports }]) as { Ports: unknown }[];
  return container?.Ports;
}

/** As an engine's list has them. */
const port = (publicPort: number, privatePort: number, proto = 'tcp', ip: unknown = '127.0.0.1'): object => ({
  IP: ip,
  PrivatePort: privatePort,
  PublicPort: publicPort,
  Type: proto,
});

t.test('a range is all of its ports', async (t) => {
  t.same(portsOf(mapping), [port(8082, 80), port(8083, 81), port(8084, 82)]);
  t.same(portsOf({ ...mapping, range: 1 }, { ...mapping, host_ip: '', host_port: 90, range: 0 }), [
    port(8082, 80),
    port(90, 80, 'tcp', ''),
  ]);
  t.same(portsOf({ ...mapping, range: 1, protocol: 'tcp,udp' }), [port(8082, 80), port(8082, 80, 'udp')]);
});

t.test('what is not as it should be is left to whoever reads the list, and costs no memory', async (t) => {
  const [strange] = portsOf(null) as unknown[];
  t.match(strange, { PublicPort: Number.NaN, Type: 'undefined' });
  t.equal((portsOf({ ...mapping, range: 1e9 }) as unknown[]).length, 65_535);
  t.equal((portsOf({ ...mapping, range: -5 }) as unknown[]).length, 1);
  t.throws(() => portsOf({ ...mapping, range: 65_535, protocol: 'tcp,udp,sctp,tcp,udp' }), {
    name: 'OperationError',
    message: 'its containers have more than 262144 ports',
  });
  const answer = [{ Id: 'a', Ports: [1] }, null, { Id: 'b', Ports: [2] }];
  t.same(withPodmanPorts(answer, [{ Id: 'a', Ports: null }, null, { Id: 'c', Ports: [] }]), answer);
  t.same(withPodmanPorts(answer, {}), answer);
  t.same(withPodmanPorts({ message: 'no' }, []), { message: 'no' });
});
