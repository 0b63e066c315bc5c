import type { OpenResult } from '../../protocol/wire/extension.js';

/** Why a guest has refused a stream, in words. @param result what it said; nothing when it cannot */
export function describeRefusal(result: OpenResult | undefined, destination: string): string {
  if (!result?.reason)
    return `the guest closed the stream to ${destination} at once; a plain peer cannot say why`;
  const { code, message } = result.reason;
  if (result.step === 'policy') return `the guest does not allow ${destination}: ${message}`;
  return `the guest could not reach ${destination}: ${code} (${message}) after ${(result.micros / 1000).toFixed(1)} ms`;
}
