import { FEATURES } from '../wire/handshake.js';

/** What runs it, and which features of the protocol it has; for reports of problems. */
export const BUILD = `Node.js ${process.version}, ${process.platform} ${process.arch}
protocol features: ${FEATURES.join(', ')}`;
