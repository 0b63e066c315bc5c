import type { Packet } from './packet.js';

/** Where what is captured goes. */
export interface PacketSink {
  /** @returns whether it is in the capture; else it was dropped, and counted */
  add(packet: Packet, facts: { outbound: boolean; comments?: readonly string[] }): boolean;
  /** Something to be said that belongs to no packet: it is said with the next one, or at the end. */
  remark(comment: string): void;
  /** Memory for payload that cannot be shown yet. @returns whether there is so much left */
  hold(bytes: number): boolean;
  letGo(bytes: number): void;
}
