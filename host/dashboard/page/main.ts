import 'uplot/dist/uPlot.min.css';
import './page.css';
import { App } from './app.js';
import { byId, setText } from './dom.js';
import { takeToken } from './token.js';

const token = takeToken(window);
if (token === undefined)
  setText(byId('feed'), "this address lacks its token: run 'portferry dashboard' for the whole of it");
else new App(token).start();
