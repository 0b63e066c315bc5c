import fc from 'fast-check';
import t from 'tap';
import {
  type Destination,
  decodeDestination,
  encodeDestination,
  formatDestination,
  formatHostPort,
} from '../../../protocol/wire/destination.js';

function decodeHex(hex: string): Destination {
  return decodeDestination(Buffer.from(hex, 'hex'));
}

const badDestination = { name: 'ProtocolError', code: 'BAD_DESTINATION' };

t.test('destinations come back as they were', (t) => {
  const destinations: Destination[] = [
    { proto: 'tcp', ip: '10.1.2.3', port: 1 },
    { proto: 'udp', ip: '255.255.255.255', port: 65535 },
    { proto: 'tcp', ip: '2001:db8::1', port: 0 },
    { proto: 'unix', path: '/run/ä.sock' },
    { proto: 'unix', path: 'portferry:control' },
    { proto: 'unix', path: '' },
    { proto: 'unix', path: 'x'.repeat(4096) },
  ];
  for (const destination of destinations)
    t.same(decodeDestination(encodeDestination(destination)), destination);
  t.end();
});

t.test('an IPv4 address that was written in 16 bytes is an IPv4 address', (t) => {
  t.same(decodeHex('01100000000000000000000000ffff7f000001901f'), {
    proto: 'tcp',
    ip: '127.0.0.1',
    port: 8080,
  });
  t.end();
});

t.test('an address that was not given is the local machine', (t) => {
  t.same(decodeHex('0100005000'), { proto: 'tcp', ip: '127.0.0.1', port: 80 });
  t.same(decodeHex('0200003500'), { proto: 'udp', ip: '127.0.0.1', port: 53 });
  t.end();
});

t.test('lengths that do not fit are refused', (t) => {
  const bad = {
    'no bytes': '',
    'no length': '0104',
    'half an address': '0104007f00',
    'no port': '0104007f000001',
    'half a port': '0104007f00000150',
    'a byte too many': '0104007f000001500000',
    'an address of 3 bytes': '0103007f00005000',
    'an address of 5 bytes': '0105007f000001005000',
    'a path cut off': '0304002f746d',
    'a path with a byte too many': '0303002f746d70',
    'protocol 0': '0004007f0000015000',
    'protocol 4': '0404007f0000015000',
  };
  for (const [name, hex] of Object.entries(bad)) t.throws(() => decodeHex(hex), badDestination, name);
  t.end();
});

t.test('every truncation is refused', (t) => {
  for (const destination of [
    { proto: 'tcp', ip: '10.1.2.3', port: 80 },
    { proto: 'udp', ip: '::1', port: 80 },
    { proto: 'unix', path: '/tmp/foo' },
  ] satisfies Destination[]) {
    const bytes = encodeDestination(destination);
    for (let length = 0; length < bytes.length; length++)
      t.throws(() => decodeDestination(bytes.subarray(0, length)), badDestination);
  }
  t.end();
});

t.test('what cannot be sent is refused before it is', (t) => {
  t.throws(() => encodeDestination({ proto: 'unix', path: 'ä'.repeat(2049) }), RangeError);
  t.throws(() => encodeDestination({ proto: 'tcp', ip: 'localhost', port: 80 }));
  t.throws(() => encodeDestination({ proto: 'tcp', ip: '::1', port: 65536 }), RangeError);
  t.end();
});

t.test('random bytes are a destination, which comes back, or refused', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), fc.constantFrom(0, 1, 2, 3, 4), (noise, proto) => {
      const bytes = Buffer.from(noise);
      if (bytes.length >= 3) {
        bytes[0] = proto;
        bytes.writeUInt16LE(Math.max(0, bytes.length - (proto === 3 ? 3 : 5)), 1);
      }
      let destination: Destination;
      try {
        destination = decodeDestination(bytes);
      } catch (thrown) {
        return (thrown as { code?: string }).code === 'BAD_DESTINATION';
      }
      t.same(decodeDestination(encodeDestination(destination)), destination);
      return true;
    }),
  );
  t.end();
});

t.test('as people read them', (t) => {
  t.equal(formatDestination({ proto: 'tcp', ip: '127.0.0.1', port: 80 }), 'tcp 127.0.0.1:80');
  t.equal(formatDestination({ proto: 'udp', ip: '::1', port: 53 }), 'udp [::1]:53');
  t.equal(formatDestination({ proto: 'unix', path: '/run/x.sock' }), 'unix /run/x.sock');
  t.equal(formatHostPort('fe80::1', 1), '[fe80::1]:1');
  t.end();
});
