import type { OptionDeclaration } from '../../protocol/program/declared-options.js';
import { DEFAULT_ADDRESS_TEXT } from '../dashboard/address.js';

/** Of the commands that start a host. */
export const DASHBOARD_OPTION = {
  type: 'string',
  describe: `Show forwards and connections on a page in the browser; =HOST:PORT of loopback says where, without it ${DEFAULT_ADDRESS_TEXT}`,
  bare: '',
  defaultDescription: 'off, until portferry dashboard asks for it',
} as const satisfies OptionDeclaration;

/** What whoever has started a host reads. @param origin without the token */
export function formatDashboard(origin: string): string {
  return `dashboard ${origin}/ ('portferry dashboard' opens it)`;
}
