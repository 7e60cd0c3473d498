/** The result of looking for a key that a map does not have. */
export const NO_VALUE = Symbol('no value');

/** A value as Go's fmt prints it with %v: `[a b]`, `map[k:v]`, `<nil>`. */
export function goText(value: unknown): string {
  if (value === NO_VALUE || value === undefined) return '<no value>';
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.keys(value)
      .sort()
      .map((key) => `${key}:${goText((value as Record<string, unknown>)[key])}`);
    return `map[${entries.join(' ')}]`;
  }
  return String(value);
}

/** JSON as Go writes it: no spaces, keys as they are, `<`, `>` and `&` left alone (docker turns their escaping off). */
export function goJson(value: unknown): string {
  return JSON.stringify(value === NO_VALUE ? null : value) ?? 'null';
}
