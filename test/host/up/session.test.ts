import { existsSync } from 'node:fs';
import http from 'node:http';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { type RemoteGuest, runUp, type UpOptions } from '../../../host/up/session.js';
import { TextSink } from '../../fixtures/call-program.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

interface Run {
  options: UpOptions;
  stdout: TextSink;
  abort: AbortController;
  /** The folder of the sockets, when the host has been started. */
  folder(): string;
}

function makeRun(
  hostMode: string,
  guestMode: string,
  onText: (text: string, abort: AbortController) => void,
): Run {
  const abort = new AbortController();
  const stdout = new TextSink((text) => onText(text, abort));
  let folder = '';
  const options: UpOptions = {
    specs: [],
    demo: false,
    stdout,
    stop: abort.signal,
    log: () => {},
    makeHost: (_channel, control) => {
      folder = dirname(control);
      const command = [process.execPath, fixture('fake-host.mjs'), hostMode, '--control', control] as const;
      return { name: 'the host', command };
    },
    guest: {
      make: () => ({
        name: 'the guest',
        command: [process.execPath, fixture('fake-guest.mjs'), guestMode],
      }),
    },
  };
  return { options, stdout, abort, folder: () => folder };
}

function stopWhenShown(text: string, abort: AbortController): void {
  if (/Ctrl-C/.test(text)) abort.abort();
}

t.test('says how the dashboard is opened, without its token', async (t) => {
  const { options, stdout } = makeRun('run', 'run', stopWhenShown);
  await runUp({ ...options, dashboard: true });
  t.match(stdout.text, /^'portferry dashboard --control \S+' opens the dashboard\n/);
});

t.test('forwards until it is told to stop, and leaves nothing behind', async (t) => {
  const { options, stdout, folder } = makeRun('run', 'run', stopWhenShown);
  await runUp({ ...options, specs: ['0:81', '0:82'] });
  t.match(
    stdout.text,
    /^tcp localhost:\d+ → tcp 127\.0\.0\.1:81\ntcp localhost:\d+ → tcp 127\.0\.0\.1:82\nCtrl-C ends it/,
  );
  t.notOk(existsSync(folder()));
});

t.test(
  'the demonstration: any port if 8080 is taken, a URL that works, and the way of a request',
  async (t) => {
    let done: (() => void) | undefined;
    const shown = new Promise<void>((resolve) => {
      done = resolve;
    });
    const { options, stdout, abort } = makeRun('run', 'run', (text) => {
      if (/Ctrl-C/.test(text)) done?.();
    });
    const ended = runUp({ ...options, demo: true });
    await shown;
    const url = /^http:\/\/localhost:\d+\/$/m.exec(stdout.text)?.[0];
    t.match(stdout.text, /→ channel +unix:\/c\.sock, stream 4/);
    t.match(stdout.text, /Answered with status 200/);
    const status = await new Promise((resolve, reject) => {
      http
        .get(url ?? '', { agent: false }, (response) => resolve(response.resume().statusCode))
        .on('error', reject);
    });
    t.equal(status, 200);
    abort.abort();
    await ended;
  },
);

t.test('ends with the reason when one of the two ends', async (t) => {
  const { options, folder } = makeRun('waiting', 'die', () => {});
  await t.rejects(runUp(options), {
    name: 'OperationError',
    message: 'the guest ended with exit code 1: portferry-guest: no luck',
  });
  t.notOk(existsSync(folder()));
});

t.test('ends when a forward cannot be had', async (t) => {
  const { options } = makeRun('run', 'run', () => {});
  await t.rejects(runUp({ ...options, specs: ['8080:80'] }), { message: /address already in use/ });
  const { options: empty } = makeRun('empty', 'run', () => {});
  await t.rejects(runUp({ ...empty, demo: true }), { message: 'the host exposed nothing' });
});

t.test('ends when the guest does not come, or it is told to stop before', async (t) => {
  const { options } = makeRun('waiting', 'run', () => {});
  await t.rejects(runUp({ ...options, connectDeadlineMs: 0 }), {
    name: 'OperationError',
    message: /^host and guest did not come together in time: no portferry host answers/,
  });
  const { options: stopped, stdout, abort } = makeRun('waiting', 'run', () => {});
  abort.abort();
  await runUp(stopped);
  t.equal(stdout.text, '');
});

t.test('a host that answers, and whose guest does not come', async (t) => {
  const { options } = makeRun('waiting', 'run', () => {});
  await t.rejects(runUp({ ...options, connectDeadlineMs: 2_000 }), {
    message: 'host and guest did not come together in time: the guest has not connected',
  });
});

/** A guest elsewhere; `events` gets what is done about it. */
function remoteGuest(events: string[], changes: Partial<RemoteGuest> = {}): RemoteGuest {
  return {
    connectDeadlineMs: 60_000,
    prepare: async (folder) => {
      events.push(`prepared ${existsSync(folder)}`);
      return 'exec:enter';
    },
    explain: (reason) => `explained: ${reason}`,
    remove: async () => void events.push('removed'),
    ...changes,
  };
}

t.test('a guest elsewhere is made ready before the host starts, and removed after it', async (t) => {
  const { options } = makeRun('run', 'run', stopWhenShown);
  const events: string[] = [];
  const makeHost: UpOptions['makeHost'] = (channel, control) => {
    events.push(`host ${channel.join(' ')}`);
    return options.makeHost(channel, control);
  };
  await runUp({ ...options, makeHost, guest: remoteGuest(events) });
  t.same(events, ['prepared true', 'host --connect exec:enter', 'removed']);
});

t.test('ends with the reason when the guest elsewhere cannot be reached, or not be made ready', async (t) => {
  const { options } = makeRun('failing', 'run', () => {});
  const events: string[] = [];
  await t.rejects(runUp({ ...options, guest: remoteGuest(events) }), {
    name: 'OperationError',
    message: 'explained: it ended',
  });
  const prepare = async (): Promise<string> => {
    throw new Error('no engine');
  };
  await t.rejects(runUp({ ...options, guest: remoteGuest(events, { prepare }) }), { message: 'no engine' });
  t.same(events, ['prepared true', 'removed', 'removed']);
});

t.test('what is given up while the guest is made ready is no failure', async (t) => {
  const { options, abort, stdout } = makeRun('run', 'run', () => {});
  const prepare = async (): Promise<string> => {
    abort.abort();
    throw new Error('given up');
  };
  const events: string[] = [];
  await runUp({ ...options, guest: remoteGuest(events, { prepare }) });
  t.same(events, ['removed']);
  t.equal(stdout.text, '');
});
