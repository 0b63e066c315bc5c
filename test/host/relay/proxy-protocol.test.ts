import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import t from 'tap';
import { encodeProxyHeader } from '../../../host/relay/proxy-protocol.js';
import type { Source, SourceAddress } from '../../../protocol/wire/extension.js';

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** The longest header of version 1, its end included. */
const MAX_TEXT_BYTES = 107;

const v4: Source = {
  client: { ip: '192.0.2.33', port: 52_311 },
  listener: { ip: '198.51.100.7', port: 8080 },
};
const v6: Source = {
  client: { ip: '2001:db8::1', port: 52_311 },
  listener: { ip: '2001:db8::ff:0', port: 443 },
};
const mixed: Source = { client: { ip: '192.0.2.33', port: 1 }, listener: { ip: '::1', port: 65_535 } };
const nobody: Source = { client: undefined, listener: undefined };

t.test('version 1 is one line of text', (t) => {
  const text = (source: Source): string => encodeProxyHeader(1, source).toString('latin1');
  t.equal(text(v4), 'PROXY TCP4 192.0.2.33 198.51.100.7 52311 8080\r\n');
  t.equal(text(v6), 'PROXY TCP6 2001:db8::1 2001:db8::ff:0 52311 443\r\n');
  t.equal(text(mixed), 'PROXY TCP6 ::ffff:c000:221 ::1 1 65535\r\n', 'in hex digits only');
  t.equal(text(nobody), 'PROXY UNKNOWN\r\n');
  t.equal(text({ ...v4, listener: undefined }), 'PROXY UNKNOWN\r\n', 'both or neither');
  const local: Source = {
    client: { ip: 'fe80::1%eth0.100', port: 1 },
    listener: { ip: 'fe80::2%br-lan', port: 2 },
  };
  t.equal(text(local), 'PROXY TCP6 fe80::1 fe80::2 1 2\r\n', 'without the interface of a link');
  const highest = { ip: '255.255.255.255', port: 65_535 };
  t.equal(
    text({ client: highest, listener: highest }),
    'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n',
  );
  t.end();
});

t.test('version 2 is binary', (t) => {
  const hex = (source: Source): string => encodeProxyHeader(2, source).toString('hex');
  const signature = '0d0a0d0a000d0a515549540a';
  t.equal(hex(v4), `${signature}2111000cc0000221c6336407cc571f90`);
  t.equal(
    hex(v6),
    `${signature}2121002420010db800000000000000000000000120010db8000000000000000000ff0000cc5701bb`,
  );
  t.equal(
    hex(mixed),
    `${signature}2121002400000000000000000000ffffc0000221000000000000000000000000000000010001ffff`,
  );
  t.equal(hex(nobody), `${signature}20000000`);
  t.end();
});

const ip = fc.oneof(
  fc.ipV4(),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => ipaddr.fromByteArray([...bytes]).toString()),
);
const address = fc.record({ ip, port: fc.nat({ max: 65_535 }) });

t.test('what a server reads is what was written', (t) => {
  fc.assert(
    fc.property(address, address, fc.uint8Array({ maxLength: 40 }), (client, listener, payload) => {
      for (const version of [1, 2] as const) {
        const header = encodeProxyHeader(version, { client, listener });
        const stream = Buffer.concat([header, payload]);
        const { read, bytes } = version === 1 ? readText(stream) : readBinary(stream);
        t.equal(bytes, header.length, 'and nothing of the payload');
        t.same(read, { client: canonical(client), listener: canonical(listener) });
      }
    }),
  );
  t.end();
});

interface Read {
  read: Source;
  bytes: number;
}

/** A reader of version 1 that knows of the encoder only what the specification says. */
function readText(stream: Buffer): Read {
  const end = stream.indexOf('\r\n');
  const words = stream.toString('latin1', 0, end).split(' ');
  const [proxy, family, from = '', to = '', fromPort = '', toPort = '', ...more] = words;
  t.same([proxy, more], ['PROXY', []]);
  t.ok(end + 2 <= MAX_TEXT_BYTES);
  for (const word of [from, to])
    t.match(word, family === 'TCP4' ? /^\d+(\.\d+){3}$/ : /^[0-9a-f]{0,4}(:[0-9a-f]{0,4}){2,7}$/);
  const client = canonical({ ip: from, port: Number(fromPort) });
  return { read: { client, listener: canonical({ ip: to, port: Number(toPort) }) }, bytes: end + 2 };
}

/** A reader of version 2, likewise. */
function readBinary(stream: Buffer): Read {
  t.same(stream.subarray(0, 12), SIGNATURE);
  t.equal(stream[12], 0x21, 'version 2, PROXY');
  const family = stream[13];
  t.ok(family === 0x11 || family === 0x21, 'TCP over IPv4 or IPv6');
  const size = family === 0x11 ? 4 : 16;
  const length = stream.readUInt16BE(14);
  t.equal(length, 2 * size + 4);
  const read = (index: number): SourceAddress => {
    const at = 16 + index * size;
    const bytes = [...stream.subarray(at, at + size)];
    const port = stream.readUInt16BE(16 + 2 * size + 2 * index);
    return canonical({ ip: ipaddr.fromByteArray(bytes).toString(), port });
  };
  return { read: { client: read(0), listener: read(1) }, bytes: 16 + length };
}

/** A mapped address is the IPv4 address that it stands for. */
function canonical({ ip, port }: SourceAddress): SourceAddress {
  return { ip: ipaddr.process(ip).toString(), port };
}
