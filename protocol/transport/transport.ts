export { type ConnectOptions, connectChannel } from './connect.js';
export { type ChannelListener, listenForChannel } from './listen.js';
