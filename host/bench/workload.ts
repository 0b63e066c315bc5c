import type { Endpoint } from './endpoint.js';

/** One figure that a workload yields. */
export interface Metric {
  name: string;
  unit: string;
  better: 'more' | 'less';
}

/** What a workload is given for one run. */
export interface RunContext {
  endpoint: Endpoint;
  /** The rival's processes; empty when they are not known. */
  pids: readonly number[];
  /** How long the measured part should take. */
  seconds: number;
  /** For workloads that are counted in connections: 1 for a whole run, less for a quick one. */
  scale: number;
  /** What the last run on this rival has learnt, such as how many bytes fill the time. */
  memo: Map<string, number>;
}

/** Figures by the metric's name; one is missing where it cannot be measured. */
export type Figures = Record<string, number>;

export interface Workload {
  name: string;
  /** What is measured; of one that is `counted` without the number of connections, which is put before it. */
  describe: string;
  metrics: readonly Metric[];
  /** Connections at once; rivals that cannot hold as many are left out. */
  connections: number;
  /** Whether it goes by connections and not by time: a quick run opens fewer. */
  counted?: boolean;
  /** @throws OperationError when something was lost, wrong or refused */
  run(context: RunContext): Promise<Figures>;
}
