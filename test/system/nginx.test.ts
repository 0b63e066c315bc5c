import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Pair } from '../e2e/fixtures/pair.js';
import { freePort } from '../fixtures/free-ports.js';
import { Program, requireProgram, run, temporaryFolder } from '../fixtures/programs.js';

const MIB = 1024 * 1024;
const LARGE_BYTES = 200 * MIB + 12_345;
const REQUESTS = 200;

interface Web {
  curl: string;
  /** What nginx serves, and where uploads go. */
  files: string;
  /** Where the forward is. */
  url: string;
}

/** nginx behind a forward; undefined when a program is missing. */
async function startWeb(t: Test): Promise<Web | undefined> {
  const nginx = requireProgram(t, 'nginx');
  const curl = nginx && requireProgram(t, 'curl');
  if (nginx === undefined || curl === undefined) return undefined;
  const folder = temporaryFolder(t);
  const files = join(folder, 'files');
  mkdirSync(files);
  const port = await freePort();
  const config = join(folder, 'nginx.conf');
  writeFileSync(config, configure(folder, port));
  const args = ['-c', config, '-p', folder, '-e', 'stderr'];
  await Program.start(t, nginx, args, { endSignal: 'SIGTERM' }).line(/start worker process \d+/);
  const pair = await Pair.start(t, `127.0.0.1:0:${port}`);
  return { curl, files, url: `http://127.0.0.1:${await pair.port(port)}` };
}

/** Everything in one folder; root's nginx keeps being root, whose folder that is. */
function configure(folder: string, port: number): string {
  return `
daemon off;
${process.getuid?.() === 0 ? 'user root;' : ''}
pid nginx.pid;
worker_processes 1;
error_log stderr notice;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 0;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/tmp-${name};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port} backlog=1024;
    root ${folder}/files;
    location / { dav_methods PUT; }
  }
}
`;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

t.test('a large file is the same on both sides, in both directions', async (t) => {
  const web = await startWeb(t);
  if (!web) return;
  const { curl, files, url } = web;
  const large = randomBytes(LARGE_BYTES);
  writeFileSync(join(files, 'large'), large);
  const copy = join(files, 'copy');
  const down = await run(t, curl, '-sS', '--fail', '-o', copy, `${url}/large`);
  t.same(down, { outcome: 0, output: '' });
  t.equal(sha256(readFileSync(copy)), sha256(large), 'the download');

  const up = await run(t, curl, '-sS', '--fail', '-T', copy, `${url}/upload`);
  t.same(up, { outcome: 0, output: '' });
  t.equal(sha256(readFileSync(join(files, 'upload'))), sha256(large), 'the upload');
});

t.test(`${REQUESTS} requests at once are answered`, async (t) => {
  const web = await startWeb(t);
  if (!web) return;
  const { curl, files, url } = web;
  const page = randomBytes(100_000);
  writeFileSync(join(files, 'page'), page);
  const { outcome, output } = await run(
    t,
    curl,
    ...['-sS', '--fail', '--parallel', '--parallel-immediate', '--parallel-max', String(REQUESTS)],
    // One connection for each: none is used again.
    ...['--no-keepalive', '-H', 'Connection: close', '-w', '%{http_code} %{size_download}\\n'],
    ...['-o', join(files, 'page-#1'), `${url}/page?[1-${REQUESTS}]`],
  );
  t.equal(outcome, 0, output);
  // Some versions of curl show progress all the same.
  const answers = output.split('\n').filter((line) => /^\d{3} \d+$/.test(line));
  t.same(answers, Array(REQUESTS).fill(`200 ${page.length}`));
  for (let number = 1; number <= REQUESTS; number++) {
    if (!readFileSync(join(files, `page-${number}`)).equals(page)) t.fail(`answer ${number} differs`);
  }
});
