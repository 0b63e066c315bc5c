/** Seconds a TCP connection may be silent before the kernel asks whether its peer is there; as Docker has it. */
export const DEFAULT_KEEP_ALIVE_SECONDS = 15;

/** The most that Linux takes (MAX_TCP_KEEPIDLE). */
export const MAX_KEEP_ALIVE_SECONDS = 32_767;
