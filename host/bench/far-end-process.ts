import { serveFarEnd } from './far-end.js';

/** The far end as a child of the benchmark: tells its parent where it listens, and ends with it. */
serveFarEnd('127.0.0.1', 0, (error) => console.error(`the far end: ${error.message}`)).then((server) => {
  process.on('disconnect', () => process.exit());
  process.send?.(server.address());
});
