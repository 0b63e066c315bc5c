/** Where the address has the token, and where a tab keeps it. */
const NAME = 'token';

/** The parts of a window that are needed. */
export interface TokenPlace {
  readonly location: { readonly hash: string; readonly pathname: string };
  readonly history: { replaceState(data: unknown, unused: string, url: string): void };
  readonly sessionStorage: {
    getItem(name: string): string | null;
    setItem(name: string, value: string): void;
  };
}

/**
 * Takes the token out of the address, where others could read it over a shoulder or in the history, into the storage
 * of this tab. No cookie: that would be sent to every server of this machine's loopback, whatever its port is, and so
 * to those behind the forwards, too.
 * @returns undefined when there is none
 */
export function takeToken({ location, history, sessionStorage }: TokenPlace): string | undefined {
  const given = new URLSearchParams(location.hash.slice(1)).get(NAME);
  if (given) {
    sessionStorage.setItem(NAME, given);
    history.replaceState(null, '', location.pathname);
  }
  return given ?? sessionStorage.getItem(NAME) ?? undefined;
}
