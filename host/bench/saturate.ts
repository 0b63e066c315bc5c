import { parentPort, workerData } from 'node:worker_threads';
import type { Endpoint } from './endpoint.js';
import { Upload } from './near-end.js';

/** A worker: uploads without end, and reports when the first transfer has warmed everything up. */
const WARM_UP_BYTES = 64 * 1024 * 1024;
const ENDLESS_BYTES = Number.MAX_SAFE_INTEGER;

async function saturate(endpoint: Endpoint): Promise<unknown> {
  await new Upload(endpoint).transfer(WARM_UP_BYTES);
  const upload = new Upload(endpoint).transfer(ENDLESS_BYTES);
  parentPort?.postMessage('saturating');
  return upload;
}

saturate(workerData as Endpoint);
