/**
 * Lays rows out as Go's tabwriter does with docker's settings: a column is as wide as its widest cell plus `padding`, the last
 * cell of a row is not padded.
 */
export function table(rows: readonly (readonly string[])[], padding = 3, minWidth = 0): string {
  const widths: number[] = [];
  for (const row of rows)
    for (let i = 0; i < row.length - 1; i++) widths[i] = Math.max(widths[i] ?? minWidth, cellWidth(row[i]!) + padding);
  return rows
    .map(
      (row) =>
        `${row.map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(widths[i]! - cellWidth(cell)))).join('')}\n`,
    )
    .join('');
}

/** Code points, as tabwriter counts. */
function cellWidth(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
