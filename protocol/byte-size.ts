const BYTES_PER_STEP = 1024;
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `17 B`, `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.floor(Math.log(bytes) / Math.log(BYTES_PER_STEP));
  const unit = Math.min(step, BYTE_UNITS.length - 1);
  return `${(bytes / BYTES_PER_STEP ** unit).toFixed(unit === 0 ? 0 : 1)} ${BYTE_UNITS[unit]}`;
}
