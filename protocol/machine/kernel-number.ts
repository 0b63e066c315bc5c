/** `6.1.0` of `6.1.0-18-cloud-amd64`: what follows may name whose kernel it is. */
export function kernelNumber(release: string): string {
  return /^[\d.]*\d/.exec(release)?.[0] ?? 'unknown';
}
