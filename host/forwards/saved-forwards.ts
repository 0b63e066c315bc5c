import { messageOf, OperationError } from '../../protocol/errors.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import { LOCALHOST } from '../../protocol/wire/address.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';

/** A forward in a state file: vpnkit's form, and its host addresses, of which that form has only one. */
interface SavedForward extends VpnkitPort {
  host_ips?: string[];
}

interface SavedState {
  version: 1;
  forwards: SavedForward[];
}

/** Quoted of what cannot be understood. */
const MAX_QUOTED = 200;

/** The text of a state file. */
export function formatSaved(rules: readonly ForwardRule[]): string {
  const state: SavedState = { version: 1, forwards: rules.map(toSaved) };
  return `${JSON.stringify(state, undefined, 2)}\n`;
}

/**
 * Reads the text of a state file, as far as it can be understood.
 * @returns its forwards, and what is wrong with the rest of it
 */
export function parseSaved(text: string): { rules: ForwardRule[]; problems: string[] } {
  const rules: ForwardRule[] = [];
  const problems: string[] = [];
  try {
    for (const [index, saved] of readEntries(text).entries())
      try {
        rules.push(fromSaved(saved as SavedForward));
      } catch (thrown) {
        const quoted = JSON.stringify(saved).slice(0, MAX_QUOTED);
        problems.push(`entry ${index + 1}, ${quoted}: ${messageOf(thrown)}`);
      }
  } catch (thrown) {
    problems.push(messageOf(thrown));
  }
  return { rules, problems };
}

function readEntries(text: string): unknown[] {
  const state = JSON.parse(text) as Partial<SavedState> | null;
  if (state?.version === 1 && Array.isArray(state.forwards)) return state.forwards;
  throw new OperationError('it is no list of forwards of version 1');
}

function toSaved(rule: ForwardRule): SavedForward {
  const port = ruleToVpnkit(rule);
  return rule.proto === 'unix' ? port : { ...port, host_ips: rule.hostIps };
}

function fromSaved(saved: SavedForward): ForwardRule {
  const rule = ruleFromVpnkit(saved);
  const localhost = saved.host_ips?.join() === LOCALHOST.join();
  return rule.proto !== 'unix' && localhost ? { ...rule, hostIps: [...LOCALHOST] } : rule;
}
