import { Conversation, type ConversationEnd } from '../../../protocol/wire/conversation.js';
import {
  encodeLineBytes,
  encodeLineMessage,
  LineDecoder,
  type LineMessage,
  NO_NONCE,
} from '../../../protocol/wire/line.js';
import { equal, type Target } from '../target.js';

const OWN = '0123456789abcdef';
const OTHER = 'fedcba9876543210';

const hello = encodeLineMessage({ kind: 'hello', own: OTHER, heard: NO_NONCE });
const known = encodeLineMessage({ kind: 'hello', own: OTHER, heard: OWN });
const bye = encodeLineMessage({ kind: 'bye', own: OTHER, heard: OWN });
const anew = encodeLineMessage({ kind: 'hello', own: '1111111111111111', heard: NO_NONCE });
const echo = encodeLineMessage({ kind: 'hello', own: OWN, heard: NO_NONCE });

/** What a virtio-serial port brings. The first byte says how the rest is cut. */
export const line: Target = {
  seeds: [
    Buffer.concat([Buffer.from([0]), hello, known, Buffer.from('data\xc1\x00data', 'latin1'), bye]),
    Buffer.concat([Buffer.from([7]), Buffer.from('rest'), known, anew]),
    Buffer.concat([Buffer.from([1]), hello.subarray(9), echo]),
  ],
  run([cut = 0, ...rest]) {
    const bytes = Buffer.from(rest);
    const whole = decode(bytes, 0);
    equal(decode(bytes, cut), whole, 'cut up, this line brings something else');
    converse(whole.messages);
    const sent = Buffer.from(encodeLineBytes(bytes));
    equal(decode(sent, cut), { plain: bytes.toString('hex'), messages: [] }, 'it does not come back');
  },
};

function decode(bytes: Buffer, cut: number): { plain: string; messages: LineMessage[] } {
  const decoder = new LineDecoder();
  const plain: Buffer[] = [];
  const messages: LineMessage[] = [];
  for (let start = 0; start < bytes.length; start += cut || bytes.length) {
    const memory = Buffer.from(bytes.subarray(start, cut ? start + cut : bytes.length));
    for (let at = 0; at < memory.length; ) {
      const { length, next, message } = decoder.decode(memory, at, memory.length);
      plain.push(Buffer.from(memory.subarray(at, at + length)));
      if (message) messages.push(message);
      if (next <= at) throw new Error('the decoder does not go on');
      at = next;
    }
  }
  return { plain: Buffer.concat(plain).toString('hex'), messages };
}

/** An end answers a message with one at most, agrees once, and is over once, and then silent. */
function converse(messages: readonly LineMessage[]): void {
  let sent = 0;
  let agreed = 0;
  const ends: ConversationEnd[] = [];
  const conversation = new Conversation(OWN, {
    onSend: ({ own }) => {
      if (own !== OWN) throw new Error('it speaks for the other end');
      sent++;
    },
    onAgreed: () => agreed++,
    onOver: (end) => ends.push(end),
  });
  for (const message of messages) {
    const [before, wasOver] = [sent, ends.length > 0];
    conversation.handle(message);
    if (sent - before > (wasOver ? 0 : 1)) throw new Error('more than one message for one');
  }
  if (agreed > 1 || ends.length > 1) throw new Error(`agreed ${agreed} times, over ${ends.length} times`);
  if (conversation.state === 'over' && ends.length === 0) throw new Error('over, and nobody was told');
  if (ends[0] && ends[0] !== 'echo' && agreed === 0) throw new Error(`${ends[0]}, and never agreed`);
}
