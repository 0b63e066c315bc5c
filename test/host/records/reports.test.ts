import t from 'tap';
import { limitationOf, reportForward } from '../../../host/records/reports.js';
import { knowsAddressAsked } from '../../../protocol/socket/packet-info-socket.js';
import { fakeForward } from '../../fixtures/fake-forward.js';

t.test(
  'a UDP forward on every address says where it cannot answer from the one that was asked',
  async (t) => {
    for (const spec of ['0.0.0.0:53:53/udp', '[::]:53:53/udp', '*:53:53/udp']) {
      const forward = fakeForward(spec);
      t.match(limitationOf(forward.rule, false), { limitation: /^answers may come from another address/ });
      t.same(limitationOf(forward.rule, true), {});
      t.equal('limitation' in reportForward(forward), !knowsAddressAsked());
    }
    for (const spec of ['53:53/udp', '*:53:53', 'unix:/a:/b'])
      t.same(limitationOf(fakeForward(spec).rule, false), {});
  },
);
