/**
 * Every number that bounds what portferry sends, takes or keeps, with its unit and where it comes from.
 * Those marked "wire" are facts of the protocol (SPEC.md); the others are choices.
 */

/** Wire: bytes before a Data frame's payload: u16 total, u8 command, u32 id, u32 length. */
export const DATA_HEADER_BYTES = 11;

/** Wire: a u16 counts the handshake's payload. */
export const MAX_HANDSHAKE_PAYLOAD_BYTES = 0xffff;

/** Wire: stream ids are u32. */
export const MAX_STREAM_ID = 0xffff_ffff;

/** The longest path in an Open that we take; every socket path an OS accepts is far below it. */
export const MAX_PATH_BYTES = 4096;

/** The longest text (reason, message) in an extension frame that we send; longer text is cut. */
export const MAX_REASON_BYTES = 512;

/** What a stream may send before its reader has shown that it reads: the same as vpnkit's whole window. */
export const INITIAL_WINDOW_BYTES = 64 * 1024;

/**
 * Wire, of the extension early-data: what may be sent on a new stream before its first Window. A request of
 * nearly any kind fits in.
 */
export const EARLY_DATA_BYTES = 16 * 1024;

/** The least that a stream is granted, also when the channel's budget is spent. */
export const MIN_WINDOW_BYTES = EARLY_DATA_BYTES;

/** A busy stream's window stops growing here: 40 ms at 100 MB/s, far more than a local channel needs. */
export const MAX_WINDOW_BYTES = 4 * 1024 * 1024;

/** Payloads up to this size are copied and sent together; they are those of requests, not of bulk data. */
export const SMALL_PAYLOAD_BYTES = 16 * 1024;

/** So many small payloads after a large one make a stream one of requests; a read or a window that ends is fewer. */
export const SMALL_IN_A_ROW = 4;

/**
 * While small payloads come between those of bulk streams, no window is opened further than this: what a bulk
 * transfer has under way is what everybody else's bytes must wait for.
 */
export const SHARED_WINDOW_BYTES = 64 * 1024;

/** How long (ms) a channel counts as shared after such a small payload. */
export const SHARING_MS = 100;

/** What a channel's unix socket may hold in the kernel: one more read of a bulk transfer while one is taken out. */
export const CHANNEL_BUFFER_BYTES = 512 * 1024;

/** What the kernel may receive ahead of the host from a client on the same machine. */
export const LOCAL_RECEIVE_BUFFER_BYTES = 256 * 1024;

/** What all receive windows of one channel may add up to beyond their minimum. */
export const WINDOW_BUDGET_BYTES = 64 * 1024 * 1024;

/** A window that is used up within this time (ms) was too small for its stream, and is doubled. */
export const WINDOW_GROWTH_MS = 40;

/** Streams of one channel, both directions together. Each costs the guest one descriptor. */
export const MAX_STREAMS = 65_536;

/** Control bytes that may wait for a peer that does not read, before its channel is given up. */
export const MAX_QUEUED_CONTROL_BYTES = 16 * 1024 * 1024;

/** How long (ms) a peer may take to send its whole handshake. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** How often (ms) a peer that can answer is pinged while nothing else arrives from it. */
export const PING_INTERVAL_MS = 2_000;

/** A peer that has been silent this long (ms) after a ping is taken for dead. */
export const PING_TIMEOUT_MS = 6_000;

/** Bytes of an unexpected peer's greeting that are put into the log. */
export const FIRST_BYTES_LOGGED = 64;

/**
 * How long (ms) a connect to a channel address may take, its preamble included. What is local answers in
 * milliseconds or not at all.
 */
export const CONNECT_TIMEOUT_MS = 10_000;

/** The pauses (ms) between attempts to connect a channel: the first, and the longest. */
export const MIN_BACKOFF_MS = 50;
export const MAX_BACKOFF_MS = 1_000;

/** Wire: the largest payload of a UDP datagram over IPv4: 65535 bytes less the IP and UDP headers. */
export const MAX_DATAGRAM_BYTES = 65_507;

/** How long (s) a UDP flow may be idle before it ends, where its forward says nothing else: the same as vpnkit's. */
export const DEFAULT_IDLE_SECONDS = 90;

/** The most (s) that may be asked for, a day: what is to stay longer than that is no UDP flow. */
export const MAX_IDLE_SECONDS = 86_400;

/** What a queued datagram costs beside its payload: the objects that hold it, about. */
export const QUEUED_DATAGRAM_OVERHEAD_BYTES = 256;

/** Datagrams that may wait for one stream: as much as a socket's buffer holds by default on Linux, about. */
export const MAX_QUEUED_DATAGRAM_BYTES = 256 * 1024;

/** Datagrams that may wait for all streams of a process together. */
export const DATAGRAM_BUDGET_BYTES = 32 * 1024 * 1024;

/** How long (ms) streams in flight may take to finish when their process is told to stop. */
export const STOP_GRACE_MS = 10_000;

/** How long (ms) the guest's dial may take; an OS tries for minutes, and the client would not know why. */
export const DIAL_TIMEOUT_MS = 20_000;

/** Leases of one channel: each is a stream, and each port that a userland proxy publishes has one. */
export const MAX_LEASES = 4096;

/** Forwards that all leases of a channel may want: a quarter of all ports, each of them on both families. */
export const MAX_LEASED_FORWARDS = 16_384;

/** What one forward of a lease may take as JSON: two socket paths and an annotation are far below it. */
export const MAX_LEASED_FORWARD_BYTES = 1024;

/** The body of a request that names a lease's forwards: some 30,000 of the usual size. */
export const MAX_LEASE_BODY_BYTES = 4 * 1024 * 1024;

/** What the bodies of all requests on all leases may take at the same time: a guest must not fill the host. */
export const MAX_LEASE_BODIES_BYTES = 64 * 1024 * 1024;

/** Requests on one lease that may wait for their answers; a client has one. */
export const MAX_LEASE_REQUESTS = 16;

/** How often (ms) the host tries again to listen where it could not. */
export const RETRY_FORWARDS_MS = 2_000;

/** How long (ms) who asks for a forward waits for a channel: dockerd gives up a port's proxy after 16 s. */
export const LEASE_CHANNEL_WAIT_MS = 10_000;

/** How long (ms) the host may take to answer who waits for a forward. */
export const LEASE_ANSWER_TIMEOUT_MS = 5_000;

/** How long (ms) the host may take to make all of a lease's forwards; 10,000 take a few seconds. */
export const LEASE_PUBLISH_TIMEOUT_MS = 30_000;

/** How long (ms) a publisher waits before it asks again, when its lease has ended and the channel has not. */
export const LEASE_RETRY_MS = 1_000;
