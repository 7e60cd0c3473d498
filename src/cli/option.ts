/** What shell completion offers where a value or an argument stands. */
export type Completes =
  | 'containers'
  | 'running-containers'
  | 'working-containers'
  /** Those of `containers`, and working ones. */
  | 'all-containers'
  | 'images'
  | 'volumes'
  | 'networks'
  | 'files'
  | 'directories'
  | readonly string[];

/** One option, declared once: parsing, help, completion and the manual derive from it. */
export interface Option {
  /** `list` may be repeated; `int` is a whole number, decimal. */
  type: 'bool' | 'string' | 'int' | 'list';
  short?: string;
  help: string;
  /** The word for the value in help, `string` unless given. */
  value?: string;
  default?: boolean | string | number;
  /** Accepted, not shown. */
  hidden?: boolean;
  completes?: Completes;
}

/** Long name (without dashes) → option. */
export type Options = Readonly<Record<string, Option>>;

type Value<O extends Option> = O['type'] extends 'bool'
  ? boolean
  : O['type'] extends 'list'
    ? string[]
    : O['type'] extends 'int'
      ? O extends { default: number }
        ? number
        : number | undefined
      : O extends { default: string }
        ? string
        : string | undefined;

/** Parsed options: what was given, else the default; a bool without default is false. */
export type Values<O extends Options> = { -readonly [K in keyof O]: Value<O[K]> };
