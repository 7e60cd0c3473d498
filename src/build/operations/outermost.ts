/** Those of some paths that lie in none of the others. */
export function outermost(paths: Iterable<string>): string[] {
  // A slash before all else: what lies in a folder comes right after it.
  const byFolders = [...new Set(paths)].map((path) => ({ path, key: path.replaceAll('/', '\0') }));
  byFolders.sort((a, b) => (a.key < b.key ? -1 : 1));
  const found: string[] = [];
  for (const { path } of byFolders) {
    const last = found.at(-1);
    if (last === undefined || !path.startsWith(last.endsWith('/') ? last : `${last}/`)) found.push(path);
  }
  return found;
}
