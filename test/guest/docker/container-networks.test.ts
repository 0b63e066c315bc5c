import t from 'tap';
import { readEndpoints } from '../../../guest/docker/container-networks.js';

const bridge = { Gateway: '172.17.0.1', IPAddress: '172.17.0.2' };
const other = { Gateway: '172.30.0.1', IPAddress: '172.30.0.2' };
const inBridge = { address: '172.17.0.2', gateway: '172.17.0.1' };
const inOther = { address: '172.30.0.2', gateway: '172.30.0.1' };

t.test('networks are in the order in which the engine prefers them', async (t) => {
  t.same(readEndpoints({ Networks: { other, bridge } }), [inBridge, inOther]);
  t.same(readEndpoints({ Networks: { bridge, other: { ...other, GwPriority: 1 } } }), [inOther, inBridge]);
  t.same(readEndpoints({ Networks: { other, bridge, none: { ...bridge, GwPriority: -1 } } }), [
    inBridge,
    inOther,
    inBridge,
  ]);
});

t.test('both families, in canonical form', async (t) => {
  const dual = { ...bridge, IPv6Gateway: 'fd00:0::1', GlobalIPv6Address: 'FD00::0002' };
  t.same(readEndpoints({ Networks: { dual } }), [inBridge, { address: 'fd00::2', gateway: 'fd00::1' }]);
});

t.test('a network without an address or a gateway is no way to the container', async (t) => {
  const networks = {
    host: { Gateway: '', IPAddress: '' },
    overlay: { ...bridge, Gateway: '' },
    stopped: { ...bridge, IPAddress: undefined },
    strange: { Gateway: 'invalid IP', IPAddress: 5 },
    nothing: null,
  };
  t.same(readEndpoints({ Networks: networks }), []);
  for (const settings of [undefined, null, {}, { Networks: null }, { Networks: 'x' }])
    t.same(readEndpoints(settings), []);
});
