// Bytes whose place shows: what is lost, doubled or moved is found out.

/** A prime number, so that no buffer's size divides it. */
const LENGTH = 1_048_573;
const BLOCK_BYTES = 65_536;

const twice = Buffer.allocUnsafe(2 * LENGTH);
for (let at = 0, state = 0x9e3779b9; at < LENGTH; at++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  twice[at] = state >>> 24;
  twice[at + LENGTH] = state >>> 24;
}

/** The bytes at `offset` of the pattern: as many as are wanted, or a block of them. */
export function fill(offset, wanted = BLOCK_BYTES) {
  const at = offset % LENGTH;
  return twice.subarray(at, at + Math.min(wanted, BLOCK_BYTES));
}

/** Whether these are the pattern's at `offset`. */
export function check(bytes, offset) {
  for (let done = 0; done < bytes.length; ) {
    const expected = fill(offset + done, bytes.length - done);
    if (expected.compare(bytes, done, done + expected.length) !== 0) return false;
    done += expected.length;
  }
  return true;
}

/** More than any fault waits for: what transfers without an end would send. */
export const ENDLESS = 2 ** 50;

/** Without an end a block is sent so often (ms): 32 MB/s, which leaves the processor to the fault and to who watches. */
const PACE_MS = 2;

/** Sends so many bytes of the pattern, and ends this direction then. */
export function send(socket, count) {
  let sent = 0;
  const block = () => {
    const bytes = fill(sent, count - sent);
    sent += bytes.length;
    return socket.write(bytes);
  };
  if (count === ENDLESS) {
    const pace = setInterval(() => {
      if (socket.writable && socket.writableLength === 0) block();
    }, PACE_MS);
    socket.on('close', () => clearInterval(pace));
    return;
  }
  const more = () => {
    while (sent < count && socket.writable) if (!block()) return;
    if (socket.writable) socket.end();
  };
  socket.on('drain', more);
  more();
}
