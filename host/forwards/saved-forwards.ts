import { messageOf, OperationError } from '../../protocol/errors.js';
import type { VpnkitPort } from '../../protocol/services/control.js';
import { LOCALHOST } from '../../protocol/wire/address.js';
import type { ForwardRule } from '../rule/forward-rule.js';
import { ruleFromVpnkit, ruleToVpnkit } from '../rule/vpnkit-rule.js';

/** A forward in a state file: vpnkit's form, and its host addresses, of which that form has only one. */
interface SavedForward extends VpnkitPort {
  host_ips?: string[];
}

/** The version of what is written, since the beginning: it has only had more optional fields since. */
const VERSION = 1;

interface SavedState {
  version: typeof VERSION;
  forwards: SavedForward[];
}

/** What a state file holds, as far as it can be understood. */
export interface SavedForwards {
  rules: ForwardRule[];
  /** What is wrong with the rest of it, a sentence each. */
  problems: string[];
  /** Its version, where that is one of a portferry to come. */
  newer?: number;
}

/** Quoted of what cannot be understood. */
const MAX_QUOTED = 200;

/** The text of a state file. */
export function formatSaved(rules: readonly ForwardRule[]): string {
  const state: SavedState = { version: VERSION, forwards: rules.map(toSaved) };
  return `${JSON.stringify(state, undefined, 2)}\n`;
}

/** Reads the text of a state file. */
export function parseSaved(text: string): SavedForwards {
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
    if (thrown instanceof NewerVersion) return { rules, problems, newer: thrown.version };
  }
  return { rules, problems };
}

class NewerVersion extends OperationError {
  readonly version: number;

  constructor(version: number) {
    super(`a newer portferry has written it: it is of version ${version}, and this one knows ${VERSION}`);
    this.version = version;
  }
}

function readEntries(text: string): unknown[] {
  const state = JSON.parse(text) as { version?: unknown; forwards?: unknown } | null;
  const { version, forwards } = state ?? {};
  if (version === VERSION && Array.isArray(forwards)) return forwards;
  if (typeof version === 'number' && Number.isSafeInteger(version) && version > VERSION)
    throw new NewerVersion(version);
  throw new OperationError(`it is no list of forwards of version ${VERSION}`);
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
