const CELLS = 50;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/**
 * The bar that docker's engine draws for clients that print what they get, 110 columns and more.
 *
 * @returns '' when nothing is known yet
 */
export function progressBar(currentBytes: number, totalBytes = 0): string {
  if (currentBytes <= 0 && totalBytes <= 0) return '';
  const current = humanSize(currentBytes).padStart(8);
  if (totalBytes <= 0) return current;
  const cells = Math.min(Math.floor(Math.floor((currentBytes / totalBytes) * 100) / 2), CELLS);
  const counts = currentBytes > totalBytes ? current : `${current}/${humanSize(totalBytes)}`;
  return `[${'='.repeat(cells)}>${' '.repeat(CELLS - cells)}] ${counts}`;
}

/** Four significant digits and a decimal unit, as go-units writes them: `1.5kB`. */
function humanSize(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${Number(size.toPrecision(4))}${UNITS[unit]}`;
}
