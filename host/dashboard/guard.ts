import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { formatHostPort } from '../../protocol/wire/destination.js';
import type { Refusal } from '../control/event-server.js';
import { isSameToken } from './token.js';

/** A browser leaves this port out of what it calls a server of `http:`. */
const HTTP_PORT = 80;

/** How a WebSocket is asked for with a token: a page can set no header there, and addresses get into logs. */
const TOKEN_PROTOCOL = 'token.';

type Asked = Pick<IncomingMessage, 'method' | 'headers'>;

/**
 * Who may ask the dashboard for what. A page from elsewhere gets nothing at all, by whatever name it has reached us;
 * without the token nobody gets what the host reports.
 */
export class Guard {
  readonly #token: string;
  /** What a browser may call us: a name that somebody else's DNS leads here is none of these. */
  readonly #hosts: ReadonlySet<string>;

  constructor(token: string, ip: string, port: number) {
    this.#token = token;
    const names = ['127.0.0.1', '::1'].includes(ip) ? [ip, 'localhost'] : [ip];
    this.#hosts = new Set(
      names.flatMap((name) => {
        const host = formatHostPort(name, port);
        return port === HTTP_PORT ? [host, host.replace(/:80$/, '')] : [host];
      }),
    );
  }

  /** Why a request gets nothing, not even what is the same for all. */
  refusalOf({ method, headers }: Asked): Refusal | undefined {
    const { host = '', origin } = headers;
    if (method !== 'GET') return { status: 405, message: 'only GET is answered here' };
    if (!this.#hosts.has(host)) return { status: 403, message: 'this is not the name of the dashboard' };
    if ((origin !== undefined && origin !== `http://${host}`) || comesFromElsewhere(headers))
      return { status: 403, message: 'a page from elsewhere gets nothing here' };
    return undefined;
  }

  /** Why a request does not get what the host reports. */
  refusalOfReport(asked: Asked): Refusal | undefined {
    return this.refusalOf(asked) ?? (this.#hasToken(asked.headers) ? undefined : WITHOUT_TOKEN);
  }

  #hasToken({ authorization, 'sec-websocket-protocol': protocols = '' }: IncomingHttpHeaders): boolean {
    const [, bearer] = /^Bearer (.*)$/.exec(authorization ?? '') ?? [];
    const protocol = protocols.split(/, */).find((name) => name.startsWith(TOKEN_PROTOCOL));
    const given = bearer ?? protocol?.slice(TOKEN_PROTOCOL.length);
    return given !== undefined && isSameToken(given, this.#token);
  }
}

const WITHOUT_TOKEN = {
  status: 401,
  message: 'the token is missing or wrong: portferry dashboard prints the address with it',
};

/** Where a browser says who asks: of another page it is only a link to us, in a tab of its own, that is followed. */
function comesFromElsewhere(headers: IncomingHttpHeaders): boolean {
  const { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest } = headers;
  if (site === undefined || site === 'same-origin' || site === 'none') return false;
  return mode !== 'navigate' || dest !== 'document';
}
