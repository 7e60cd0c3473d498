import { resolve } from 'node:path';
import { splitFields, splitPair } from './fields.ts';
import { parseSize } from './sizes.ts';
import { UsageError } from './usage-error.ts';

/** The Docker API's Mount. */
export interface MountBody {
  Type: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    CreateMountpoint?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    Subpath?: string;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
  ImageOptions?: { Subpath?: string };
}

const propagations = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

/**
 * docker's `--mount`: comma-separated `key=value`, `type=volume` unless said.
 *
 * @throws {UsageError}: names the field and what would be right
 */
export function parseMount(text: string): MountBody {
  const mount: MountBody = { Type: 'volume' };
  const refuse = (why: string) => new UsageError(`invalid argument ${JSON.stringify(text)} for --mount: ${why}`);
  const bool = (key: string, value: string | undefined): boolean => {
    if (value === undefined || /^(1|true)$/i.test(value)) return true;
    if (/^(0|false)$/i.test(value)) return false;
    throw refuse(`invalid value for ${key}: ${value} (true or false)`);
  };
  const bind = () => {
    mount.BindOptions ??= {};
    return mount.BindOptions;
  };
  const volume = () => {
    mount.VolumeOptions ??= {};
    return mount.VolumeOptions;
  };
  const driver = () => {
    volume().DriverConfig ??= {};
    return volume().DriverConfig!;
  };
  let readOnlyMode = '';

  for (const field of splitFields(text)) {
    const [given, value] = splitPair(field);
    const key = given.toLowerCase();
    if (value === undefined && !['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive'].includes(key))
      throw refuse(`invalid field '${field}' must be a key=value pair`);
    const text = value ?? '';
    switch (key) {
      case 'type':
        mount.Type = text.toLowerCase();
        break;
      case 'source':
      case 'src':
        mount.Source = text.startsWith('.') ? resolve(text) : text;
        break;
      case 'target':
      case 'dst':
      case 'destination':
        mount.Target = text;
        break;
      case 'readonly':
      case 'ro':
        mount.ReadOnly = bool(key, value);
        break;
      case 'consistency':
        mount.Consistency = text.toLowerCase();
        break;
      case 'bind-propagation':
        if (!propagations.includes(text.toLowerCase()))
          throw refuse(`bind-propagation is one of ${propagations.join(', ')}`);
        bind().Propagation = text.toLowerCase();
        break;
      case 'bind-nonrecursive':
        bind().NonRecursive = bool(key, value);
        break;
      case 'bind-recursive':
        readOnlyMode = text;
        if (text === 'disabled') bind().NonRecursive = true;
        else if (text === 'writable') bind().ReadOnlyNonRecursive = true;
        else if (text === 'readonly') bind().ReadOnlyForceRecursive = true;
        else if (text !== 'enabled')
          throw refuse(`bind-recursive is one of enabled, disabled, writable, readonly, not ${JSON.stringify(text)}`);
        break;
      case 'bind-create-src':
      case 'bind-createsrc':
        bind().CreateMountpoint = bool(key, value);
        break;
      case 'volume-nocopy':
        volume().NoCopy = bool(key, value);
        break;
      case 'volume-subpath':
        volume().Subpath = text;
        break;
      case 'volume-label': {
        const [name, label = ''] = splitPair(text);
        volume().Labels = { ...volume().Labels, [name]: label };
        break;
      }
      case 'volume-driver':
        driver().Name = text;
        break;
      case 'volume-opt': {
        const [name, option = ''] = splitPair(text);
        driver().Options = { ...driver().Options, [name]: option };
        break;
      }
      case 'image-subpath':
        mount.ImageOptions = { Subpath: text };
        break;
      case 'tmpfs-size':
        mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: parseSize(text, 'tmpfs-size') };
        break;
      case 'tmpfs-mode':
        if (!/^[0-7]{1,6}$/.test(text)) throw refuse(`invalid value for tmpfs-mode: ${text} (octal, such as 1777)`);
        mount.TmpfsOptions = { ...mount.TmpfsOptions, Mode: Number.parseInt(text, 8) };
        break;
      default:
        throw refuse(`unknown option '${key}' in '${field}'`);
    }
  }

  if (mount.Type === '') throw refuse('type is required');
  if (!mount.Target) throw refuse('target is required');
  const belongs: [keyof MountBody, string][] = [
    ['VolumeOptions', 'volume'],
    ['BindOptions', 'bind'],
    ['TmpfsOptions', 'tmpfs'],
    ['ImageOptions', 'image'],
  ];
  for (const [options, type] of belongs)
    if (mount[options] !== undefined && mount.Type !== type)
      throw refuse(`cannot mix '${type}-*' options with mount type '${mount.Type}'`);
  if (readOnlyMode === 'readonly' && (!mount.ReadOnly || mount.BindOptions?.Propagation !== 'rprivate'))
    throw refuse(
      "option 'bind-recursive=readonly' requires 'readonly' and 'bind-propagation=rprivate' to be specified in conjunction",
    );
  if (readOnlyMode === 'writable' && !mount.ReadOnly)
    throw refuse("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  return mount;
}
