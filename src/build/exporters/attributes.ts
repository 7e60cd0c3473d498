import { TareError } from '../../errors/index.ts';
import { parseGoBoolean } from '../../image/index.ts';

/** A client's text is shown, but not at any length. */
const MAX_SHOWN = 80;

const shown = (text: string): string => JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);

/** Options of an exporter or a cache as a client sent them, `key=value`, read one by one with their types. */
export class Attributes {
  readonly #what: string;
  readonly #values: ReadonlyMap<string, string>;
  readonly #read = new Set<string>();

  /** @param what names the exporter or cache in errors: `exporter image` */
  constructor(what: string, values: Readonly<Record<string, string>>) {
    this.#what = what;
    this.#values = new Map(Object.entries(values));
  }

  /** Undefined: not given, or empty. */
  text(key: string): string | undefined {
    this.#read.add(key);
    return this.#values.get(key) || undefined;
  }

  /** As Go reads booleans; an option without a value is true. @throws {TareError} InvalidArgument */
  flag(key: string, fallback: boolean): boolean {
    this.#read.add(key);
    const text = this.#values.get(key);
    if (text === undefined) return fallback;
    const isSet = text === '' ? true : parseGoBoolean(text);
    if (isSet !== undefined) return isSet;
    throw this.wrong(key, 'true or false');
  }

  /** @throws {TareError} InvalidArgument */
  integer(key: string, least: number, most: number): number | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw this.wrong(key, `a whole number from ${least} to ${most}`);
  }

  /** @throws {TareError} InvalidArgument */
  oneOf<T extends string>(key: string, choices: readonly T[]): T | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const choice = choices.find((one) => one === text);
    if (choice !== undefined) return choice;
    throw this.wrong(key, choices.join(', '));
  }

  /** All whose key begins so, the rest of the key with the value. */
  startingWith(prefix: string): [key: string, value: string][] {
    const found = [...this.#values].filter(([key]) => key.startsWith(prefix));
    for (const [key] of found) this.#read.add(key);
    return found.map(([key, value]) => [key.slice(prefix.length), value]);
  }

  /** Options that mean nothing here, though others of this kind have them. */
  ignore(...keys: string[]): void {
    for (const key of keys) this.#read.add(key);
  }

  /** What nobody asked for, for a warning: clients send what newer builders know. */
  unknown(): string[] {
    return [...this.#values.keys()].filter((key) => !this.#read.has(key)).map((key) => shown(key));
  }

  wrong(key: string, want: string): TareError {
    return new TareError(
      'InvalidArgument',
      `${this.#what}: invalid ${key} ${shown(this.#values.get(key) ?? '')}: want ${want}`,
    );
  }
}
