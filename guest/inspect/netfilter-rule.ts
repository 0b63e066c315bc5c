/** A rule of the kernel's packet filter, whichever program has shown it. */
export interface NetfilterRule {
  /** `nat`, `filter` … */
  table: string;
  chain: string;
  /** What it has matched so far; in nat the kernel sees the first packet of each connection alone. */
  packets: number;
  /** As the program writes it. */
  text: string;
  /** `DNAT`, `DROP`, `REJECT`, a chain. */
  target: string;
  match: RuleMatch;
}

/** What of a rule says which packets it is for. */
export interface RuleMatch {
  /** An address, or a subnet. */
  destination?: Condition;
  /** A port, or a range such as `8000:8999`. */
  destinationPort?: Condition;
  proto?: Condition;
  /** Where DNAT leads them. */
  to?: string;
}

/** With `not` it is met by all other values. */
export interface Condition {
  value: string;
  not: boolean;
}
