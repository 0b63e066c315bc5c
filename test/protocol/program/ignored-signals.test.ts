import { EventEmitter } from 'node:events';
import t from 'tap';
import { ignoredSignals, keepIgnoring } from '../../../protocol/program/ignored-signals.js';

t.test('what the shell has found out, and else what started the program', async (t) => {
  const cases: [NodeJS.ProcessEnv, string[]][] = [
    [{}, []],
    [{ PORTFERRY_IGNORED_SIGNALS: '' }, []],
    [{ PORTFERRY_IGNORED_SIGNALS: 'HUP ' }, ['SIGHUP']],
    [{ PORTFERRY_IGNORED_SIGNALS: 'INT QUIT ' }, ['SIGINT', 'SIGQUIT']],
    [{ _: '/usr/bin/nohup' }, ['SIGHUP']],
    [{ _: 'nohup' }, ['SIGHUP']],
    [{ _: '/usr/bin/node' }, []],
    [{ _: '/usr/bin/nohup', PORTFERRY_IGNORED_SIGNALS: '' }, []],
  ];
  for (const [environment, names] of cases) t.same([...ignoredSignals(environment)], names);
});

t.test('goes on ignoring them', async (t) => {
  const events = new EventEmitter();
  keepIgnoring({ PORTFERRY_IGNORED_SIGNALS: 'HUP INT ' }, events);
  t.same(events.eventNames(), ['SIGHUP', 'SIGINT']);
  t.equal(events.emit('SIGHUP', 'SIGHUP'), true);
});
