import t from 'tap';
import { addressToBytes, canonicalIp, lacksZone } from '../../../protocol/wire/address.js';

t.test('equal addresses are equal text', (t) => {
  t.equal(canonicalIp('::FFFF:1.2.3.4'), '1.2.3.4');
  t.equal(canonicalIp('2001:DB8:0::1'), '2001:db8::1');
  t.equal(canonicalIp('127.1'), undefined);
  t.equal(canonicalIp('localhost'), undefined);
  t.end();
});

t.test('the interface of a link may have any name', (t) => {
  for (const zone of ['eth0', 'eth0.100', 'br-0123456789ab', '7', 'Ethernet']) {
    const ip = `FE80:0::1%${zone}`;
    t.equal(canonicalIp(ip), `fe80::1%${zone}`);
    t.same(addressToBytes(ip), [0xfe, 0x80, ...Array(13).fill(0), 1]);
  }
  t.equal(canonicalIp('::ffff:1.2.3.4%eth0'), '1.2.3.4');
  t.equal(lacksZone('fe80::1'), true);
  t.equal(lacksZone('fe80::1%br-lan'), false);
  t.end();
});
