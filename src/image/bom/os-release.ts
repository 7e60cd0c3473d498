import type { OsRelease } from './package.ts';

/** Reads os-release(5): shell assignments, of which nothing is executed or expanded. */
export function parseOsRelease(text: string): OsRelease {
  const values = new Map<string, string>();
  for (const line of text.slice(0, 64 * 1024).split('\n')) {
    const [, key, value] = /^\s*([A-Z0-9_]+)=(.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined) values.set(key, unquote(value!).slice(0, 256));
  }
  const get = (key: string) => values.get(key) ?? '';
  return {
    id: get('ID').toLowerCase(),
    idLike: get('ID_LIKE').toLowerCase().split(/\s+/).filter(Boolean),
    versionId: get('VERSION_ID'),
    name: get('NAME'),
    prettyName: get('PRETTY_NAME'),
    versionCodename: get('VERSION_CODENAME'),
  };
}

function unquote(value: string): string {
  const quoted = /^(["'])(.*)\1$/.exec(value);
  const plain = quoted === null ? value : quoted[2]!;
  return (quoted?.[1] === "'" ? plain : plain.replace(/\\(["$`\\])/g, '$1')).replace(/[\u0000-\u001f\u007f]/g, '');
}
