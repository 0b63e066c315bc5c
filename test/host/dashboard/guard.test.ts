import type { IncomingHttpHeaders } from 'node:http';
import t from 'tap';
import { Guard } from '../../../host/dashboard/guard.js';

const asked = (headers: IncomingHttpHeaders, method = 'GET') => ({ method, headers });

t.test('only by the names of loopback, with the port', async (t) => {
  const refusal = (ip: string, port: number, host?: string) =>
    new Guard('t', ip, port).refusalOf(asked(host === undefined ? {} : { host }))?.status;
  for (const host of ['127.0.0.1:7', 'localhost:7']) t.equal(refusal('127.0.0.1', 7, host), undefined);
  for (const host of ['[::1]:7', 'localhost:7']) t.equal(refusal('::1', 7, host), undefined);
  t.equal(refusal('127.0.0.2', 7, '127.0.0.2:7'), undefined);
  t.equal(refusal('127.0.0.1', 80, 'localhost'), undefined, 'browsers leave out port 80');
  for (const host of [
    undefined,
    '',
    'localhost',
    '127.0.0.1',
    '127.0.0.1:8',
    'evil.example:7',
    '127.0.0.2:7',
    '[::1]:7',
  ])
    t.equal(refusal('127.0.0.1', 7, host), 403, host ?? 'none');
  t.equal(refusal('127.0.0.2', 7, 'localhost:7'), 403);
});

t.test('no page from elsewhere', async (t) => {
  const guard = new Guard('t', '127.0.0.1', 7);
  const refusal = (headers: IncomingHttpHeaders) =>
    guard.refusalOf(asked({ host: '127.0.0.1:7', ...headers }))?.status;
  t.equal(refusal({ origin: 'http://127.0.0.1:7' }), undefined);
  for (const origin of [
    'null',
    'http://127.0.0.1:8',
    'https://127.0.0.1:7',
    'http://localhost:7',
    'http://evil.example',
  ])
    t.equal(refusal({ origin }), 403, origin);
  for (const site of ['same-origin', 'none']) t.equal(refusal({ 'sec-fetch-site': site }), undefined);
  for (const site of ['cross-site', 'same-site']) {
    const from = { 'sec-fetch-site': site };
    t.equal(refusal({ ...from, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' }), 403);
    t.equal(refusal({ ...from, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }), 403);
    t.equal(
      refusal({ ...from, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }),
      undefined,
      'a link',
    );
  }
  t.match(guard.refusalOf(asked({ host: '127.0.0.1:7' }, 'POST')), { status: 405 });
});

t.test('reports with the token only', async (t) => {
  const guard = new Guard('secret', '127.0.0.1', 7);
  const refusal = (headers: IncomingHttpHeaders) =>
    guard.refusalOfReport(asked({ host: '127.0.0.1:7', ...headers }))?.status;
  t.equal(refusal({ authorization: 'Bearer secret' }), undefined);
  t.equal(refusal({ 'sec-websocket-protocol': 'portferry, token.secret' }), undefined);
  for (const authorization of ['', 'secret', 'Bearer ', 'Bearer secreT', 'Basic secret'])
    t.equal(refusal({ authorization }), 401, authorization);
  for (const protocols of ['portferry', 'token.', 'token.secreT', 'secret'])
    t.equal(refusal({ 'sec-websocket-protocol': protocols }), 401, protocols);
  t.equal(refusal({ cookie: 'token=secret' }), 401);
  t.equal(refusal({ authorization: 'Bearer secret', origin: 'http://evil.example' }), 403);
});
