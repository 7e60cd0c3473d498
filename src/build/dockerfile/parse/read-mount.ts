import { TareError } from '../../../errors/index.ts';
import { parseGoBoolean, suggestion, withSuggestion } from '../../../image/index.ts';
import { commaFields } from '../comma-fields.ts';
import type { Mount, MountFlag } from './instruction.ts';

const broken = (message: string) => new TareError('InvalidArgument', message);
const MAX_UINT32 = 2 ** 32 - 1;

const types = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const;
const sharings = ['shared', 'private', 'locked'] as const;
const keys =
  'type from source target readonly id sharing required size mode uid gid src dst destination ro rw readwrite env'.split(
    ' ',
  );

/** @throws {TareError} InvalidArgument: not fields, or variables where none can be */
export function parseMountFlag(text: string): MountFlag {
  const fields = commaFields(text, 'failed to parse csv mounts').map((field) => {
    const equals = field.indexOf('=');
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    return { key, value: equals < 0 ? undefined : field.slice(equals + 1) };
  });
  const from = fields.findLast(({ key }) => key === 'from')?.value;
  if (from !== undefined && /\$./s.test(from)) {
    throw broken("'from' doesn't support variable expansion, define alias stage instead");
  }
  return { text, fields, from: from === '' ? undefined : from };
}

/**
 * Reads a mount once variables are known.
 *
 * @param expand of a value
 * @throws {TareError} InvalidArgument, in BuildKit's words: an unknown type or key, a value that is none, what does not go together
 */
export function readMount(flag: MountFlag, expand: (word: string) => string): Mount {
  const draft = new Draft();
  for (const { key, value } of flag.fields) {
    if (value === undefined) draft.setBare(key);
    else draft.set(key, expand(value), `${key}=${value}`);
  }
  return draft.finish();
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class Draft {
  readonly #mount: Mutable<Mount> = {
    type: 'bind',
    from: undefined,
    source: '',
    target: '',
    isReadOnly: false,
    sizeBytes: undefined,
    id: '',
    isRequired: false,
    env: undefined,
    sharing: 'shared',
    mode: undefined,
    uid: undefined,
    gid: undefined,
  };
  #isAccessSaid = false;
  #isSharingSaid = false;

  setBare(key: string): void {
    if (key === 'readonly' || key === 'ro') this.#setReadOnly(true);
    else if (key === 'readwrite' || key === 'rw') this.#setReadOnly(false);
    else if (key === 'required') this.#setRequired(true);
    else if (keys.includes(key)) throw broken(`invalid field '${key}' must be a key=value pair`);
    else throw broken(withSuggestion(`invalid field '${key}' must be a key=value pair`, key, keys));
  }

  set(key: string, value: string, field: string): void {
    const mount = this.#mount;
    switch (key) {
      case 'type':
        mount.type = oneOf(types, value, 'mount type');
        break;
      case 'from':
        mount.from = value === '' ? undefined : value;
        break;
      case 'source':
      case 'src':
        mount.source = value;
        break;
      case 'target':
      case 'dst':
      case 'destination':
        mount.target = value;
        break;
      case 'readonly':
      case 'ro':
        this.#setReadOnly(booleanOf(key, value));
        break;
      case 'readwrite':
      case 'rw':
        this.#setReadOnly(!booleanOf(key, value));
        break;
      case 'required':
        this.#setRequired(booleanOf(key, value));
        break;
      case 'size':
        if (mount.type !== 'tmpfs') throw broken(`unexpected key '${key}' for mount type '${mount.type}'`);
        mount.sizeBytes = bytesOf(value);
        break;
      case 'id':
        mount.id = value;
        break;
      case 'sharing':
        mount.sharing = oneOf(sharings, value, 'sharing value');
        this.#isSharingSaid = true;
        break;
      case 'mode':
        mount.mode = numberOf(key, value, 8);
        break;
      case 'uid':
      case 'gid':
        mount[key] = numberOf(key, value, 10);
        break;
      case 'env':
        mount.env = value;
        break;
      default:
        throw broken(withSuggestion(`unexpected key '${key}' in '${field}'`, key, keys));
    }
  }

  finish(): Mount {
    const mount = this.#mount;
    for (const key of ['mode', 'uid', 'gid'] as const) {
      if (mount[key] !== undefined && (mount.type === 'bind' || mount.type === 'tmpfs')) {
        throw broken(`${key} not allowed for ${JSON.stringify(mount.type)} type mounts`);
      }
    }
    if (!this.#isAccessSaid) mount.isReadOnly = mount.type !== 'cache' && mount.type !== 'tmpfs';
    if (mount.type === 'secret') {
      if (mount.from !== undefined) throw broken('secret mount should not have a from');
      if (this.#isSharingSaid) throw broken('secret mount should not define sharing');
      if (mount.source === '' && mount.target === '' && mount.id === '') {
        throw broken('invalid secret mount. one of source, target required');
      }
      if (mount.source !== '' && mount.id !== '') throw broken("both source and id can't be set");
    }
    if (this.#isSharingSaid && mount.type !== 'cache') {
      throw broken(`invalid cache sharing set for ${mount.type} mount`);
    }
    return mount;
  }

  #setReadOnly(isReadOnly: boolean): void {
    this.#mount.isReadOnly = isReadOnly;
    this.#isAccessSaid = true;
  }

  #setRequired(isRequired: boolean): void {
    const { type } = this.#mount;
    if (type !== 'secret' && type !== 'ssh') throw broken(`unexpected key 'required' for mount type '${type}'`);
    this.#mount.isRequired = isRequired;
  }
}

function oneOf<T extends string>(options: readonly T[], value: string, what: string): T {
  const found = options.find((option) => option === value.toLowerCase());
  if (found !== undefined) return found;
  const meant = suggestion(value, options);
  const hint = meant === undefined ? `: want ${options.join(', ')}` : ` (did you mean ${meant}?)`;
  throw broken(`unsupported ${what} ${JSON.stringify(value)}${hint}`);
}

/** @throws {TareError} InvalidArgument: as Go reads booleans, it is none */
export function booleanOf(key: string, value: string): boolean {
  const is = parseGoBoolean(value);
  if (is === undefined) throw broken(`invalid value for ${key}: ${value}`);
  return is;
}

function numberOf(key: string, value: string, base: 8 | 10): number {
  const number = (base === 8 ? /^[0-7]{1,16}$/ : /^\d{1,16}$/).test(value) ? Number.parseInt(value, base) : undefined;
  if (number === undefined || number > MAX_UINT32) throw broken(`invalid value ${value} for ${key}`);
  return number;
}

const units = ['', 'k', 'm', 'g', 't', 'p'];

/** `64m`, `1.5GiB`, `1024`. */
function bytesOf(value: string): number {
  const [, number, unit] = /^(\d{1,15}(?:\.\d{1,15})?) ?([kmgtp]?)i?b?$/i.exec(value) ?? [];
  const bytes = Math.trunc(Number(number) * 1024 ** units.indexOf(unit?.toLowerCase() ?? ''));
  if (number === undefined || !Number.isSafeInteger(bytes)) throw broken(`invalid value for size: ${value}`);
  return bytes;
}
