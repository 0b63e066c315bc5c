import type { Endpoint } from './endpoint.js';
import { Exchange } from './near-end.js';
import type { Figures, Workload } from './workload.js';

const KEPT_CLIENTS = 64;
const NEW_CLIENTS = 16;

export const rateWorkloads: readonly Workload[] = [
  {
    name: 'requests-64',
    describe: `request and answer, ${KEPT_CLIENTS} clients that keep their connections`,
    metrics: [{ name: 'requests', unit: 'requests/s', better: 'more' }],
    connections: KEPT_CLIENTS,
    run: ({ endpoint, seconds }) => keptConnections(endpoint, seconds),
  },
  {
    name: 'connections-16',
    describe: `a new connection for each request, ${NEW_CLIENTS} clients`,
    metrics: [{ name: 'connections', unit: 'connections/s', better: 'more' }],
    connections: NEW_CLIENTS,
    run: ({ endpoint, seconds }) => newConnections(endpoint, seconds),
  },
];

async function keptConnections(endpoint: Endpoint, seconds: number): Promise<Figures> {
  const clients = Array.from({ length: KEPT_CLIENTS }, () => new Exchange(endpoint));
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.all(clients.map((client) => client.ask()));
    const failures = clients.map((client) => client.failure);
    let answers = 0;
    for (const client of clients) {
      const again = (): void => {
        answers++;
        client.send(again);
      };
      client.send(again);
    }
    const startedAt = performance.now();
    const over = new Promise((resolve) => {
      timer = setTimeout(resolve, seconds * 1000);
    });
    await Promise.race([...failures, over]);
    return { requests: (answers * 1000) / (performance.now() - startedAt) };
  } finally {
    clearTimeout(timer);
    for (const client of clients) client.close();
  }
}

async function newConnections(endpoint: Endpoint, seconds: number): Promise<Figures> {
  let connections = 0;
  const startedAt = performance.now();
  let endsAt = startedAt + seconds * 1000;
  const client = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      const exchange = new Exchange(endpoint);
      await exchange.ask();
      await exchange.finish();
      connections++;
    }
  };
  try {
    await Promise.all(Array.from({ length: NEW_CLIENTS }, client));
  } catch (thrown) {
    endsAt = 0;
    throw thrown;
  }
  return { connections: (connections * 1000) / (performance.now() - startedAt) };
}
