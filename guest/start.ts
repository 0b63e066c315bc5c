// What main.ts runs once it knows that this Node.js can read it.
import { runProcess } from '../protocol/program/run-process.js';
import { portferryGuest } from './cli.js';

runProcess(portferryGuest);
