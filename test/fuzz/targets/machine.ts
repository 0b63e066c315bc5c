import { parseIptablesSave } from '../../../guest/inspect/iptables-save.js';
import { inspectNetfilter } from '../../../guest/inspect/netfilter.js';
import { parseNftRuleset } from '../../../guest/inspect/nft-ruleset.js';
import { parseLsof } from '../../../host/listen/lsof.js';
import { kernelNumber } from '../../../protocol/machine/kernel-number.js';
import { parseProcNet } from '../../../protocol/machine/proc-net.js';
import { procLine } from '../../fixtures/fake-machine.js';
import { byName } from '../target.js';

const PUBLISHED = [{ proto: 'tcp', ip: '127.0.0.1', port: 8080 }] as const;
const BEHIND = { proto: 'tcp', ip: '172.17.0.2', port: 80 } as const;

/** What the system's files and programs say. */
export const machine = byName(
  {
    proc(text) {
      for (const littleEndian of [true, false])
        for (const proto of ['tcp', 'udp'] as const)
          for (const { ip } of parseProcNet(text, proto, littleEndian))
            if (ip === '') throw new Error('a socket without an address');
    },
    async iptables(text) {
      parseIptablesSave(text);
      await look(text, 'iptables');
    },
    async nft(text) {
      parseNftRuleset(text);
      await look(text, 'nft');
    },
    lsof(text) {
      parseLsof(text);
    },
    kernel(text) {
      if (!/^([\d.]+|unknown)$/.test(kernelNumber(text))) throw new Error('more than a number');
    },
  },
  {
    proc: [
      `  sl  local_address\n${procLine('0100007F', 8080, 77)}`,
      `  sl\n${procLine('0000000000000000FFFF00000100007F', 53, 5)}`,
    ],
    iptables: [
      [
        ...['*nat', ':DOCKER - [0:0]', ':OUTPUT DROP [4:240]'],
        '[3:180] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80',
        ...['COMMIT', '*filter', '[9:99] -A DOCKER-USER ! -d 172.17.0.2/32 -p tcp --dport 80:90 -j DROP', ''],
      ].join('\n'),
    ],
    nft: [
      [
        ...[
          'table ip docker-bridges {',
          '\tchain DOCKER {',
          '\t\ttype filter hook forward priority 0; policy drop;',
        ],
        '\t\tip daddr 127.0.0.1 tcp dport 8080 counter packets 3 bytes 180 dnat ip to 172.17.0.2:80',
        '\t\tip daddr != 10.0.0.0/8 udp dport != 53-60 counter packets 7 bytes 9 drop',
        ...['\t\tip6 daddr fd00::2 reject with icmpv6 port-unreachable', '\t}', '}', ''],
      ].join('\n'),
      'table inet x {\n\tchain y {\n\t\tip daddr . tcp dport { 10.0.0.1 . 80 } counter packets 1 bytes 2 drop\n\t}\n}\n',
    ],
    lsof: ['p77\ncnode\nf5\ntIPv4\nn127.0.0.1:8080\nf6\ntIPv6\nn[::1]:53->[::1]:9\nf7\ntIPv6\nn*:80\n'],
    kernel: ['6.1.0-18-cloud-amd64', 'x'],
  },
);

/** A look that fails tells nothing at all: it is to say what it has understood. */
async function look(text: string, program: string): Promise<void> {
  await inspectNetfilter(PUBLISHED, BEHIND, async (name) => {
    if (name.startsWith(program)) return text;
    throw new Error('not there');
  });
}
