import { TareError } from '../errors/index.ts';
import { type DiffID, type Platform, parseDiffID } from '../storage/index.ts';
import {
  compact,
  type Foreign,
  flagAt,
  integerAt,
  listAt,
  objectAt,
  optional,
  parseJson,
  setAt,
  textAt,
  textMapAt,
  textsAt,
} from './json.ts';

/** An image's configuration document (image-spec, config.md; docker's extensions included). Foreign: checked by `parseImageConfig`. */
export interface ImageConfigFile extends Platform {
  created?: string;
  author?: string;
  comment?: string;
  config?: ImageProcessConfig;
  rootfs: { type: 'layers'; diff_ids: DiffID[] };
  history?: ImageHistoryEntry[];
}

/** One step of how an image was made, oldest first (image-spec, config.md, "history"). */
export interface ImageHistoryEntry {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** The execution parameters inside a configuration. */
export interface ImageProcessConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  /** Docker's extensions. Times in nanoseconds. */
  Healthcheck?: ImageHealthcheck;
  OnBuild?: string[];
  Shell?: string[];
  ArgsEscaped?: boolean;
  StopTimeout?: number;
}

/** Docker's health check. Times in nanoseconds; 0 inherits. */
export interface ImageHealthcheck {
  Test?: string[];
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

export const MAX_CONFIG_BYTES = 8 << 20;
/** overlayfs stacks at most 500 lower layers (fs/overlayfs, OVL_MAX_STACK). */
export const MAX_LAYERS = 500;
const MAX_HISTORY = 10_000;

/**
 * Reads a configuration document. Fields that Tare doesn't know stay in the blob only.
 *
 * @param what names the document in errors
 * @throws {TareError} InvalidArgument: the field and what would be right
 */
export function parseImageConfig(bytes: Uint8Array, what = 'image config'): ImageConfigFile {
  const document = objectAt(parseJson(bytes, what, MAX_CONFIG_BYTES), what);
  const rootfs = optional(document['rootfs'], `${what}: rootfs`, objectAt);
  if (rootfs === undefined) {
    throw new TareError('InvalidArgument', `${what} has no rootfs.diff_ids: it is not the configuration of an image`);
  }
  const type = optional(rootfs['type'], `${what}: rootfs.type`, textAt) ?? 'layers';
  if (type !== 'layers') {
    throw new TareError('Unsupported', `${what}: rootfs.type is ${JSON.stringify(type)}: only "layers" is supported`);
  }
  const diffIDs = optional(rootfs['diff_ids'], `${what}: rootfs.diff_ids`, (value, where) =>
    listAt(value, where, (entry) => parseDiffID(entry), MAX_LAYERS),
  );
  return compact({
    created: optional(document['created'], `${what}: created`, timeAt),
    author: optional(document['author'], `${what}: author`, textAt),
    comment: optional(document['comment'], `${what}: comment`, textAt),
    ...parsePlatformFields(document, what),
    config: optional(document['config'], `${what}: config`, parseProcessConfig),
    rootfs: { type, diff_ids: diffIDs ?? [] },
    history: optional(document['history'], `${what}: history`, (value, where) =>
      listAt(value, where, parseHistoryEntry, MAX_HISTORY),
    ),
  });
}

/** The platform fields of a config or of a descriptor's platform. Old documents leave them out: Linux, any architecture. */
export function parsePlatformFields(document: Foreign, where: string): Platform {
  return compact({
    architecture: optional(document['architecture'], `${where}: architecture`, textAt) ?? '',
    os: optional(document['os'], `${where}: os`, textAt) ?? 'linux',
    variant: optional(document['variant'], `${where}: variant`, textAt),
    'os.version': optional(document['os.version'], `${where}: os.version`, textAt),
    'os.features': optional(document['os.features'], `${where}: os.features`, textsAt),
  });
}

function parseProcessConfig(value: unknown, where: string): ImageProcessConfig {
  const document = objectAt(value, where);
  const read = <T>(key: string, reader: (value: unknown, where: string) => T): T | undefined =>
    optional(document[key], `${where}.${key}`, reader);
  return compact({
    User: read('User', textAt),
    ExposedPorts: read('ExposedPorts', setAt),
    Env: read('Env', textsAt),
    Entrypoint: read('Entrypoint', textsAt),
    Cmd: read('Cmd', textsAt),
    Volumes: read('Volumes', setAt),
    WorkingDir: read('WorkingDir', textAt),
    Labels: read('Labels', textMapAt),
    StopSignal: read('StopSignal', textAt),
    Healthcheck: read('Healthcheck', parseHealthcheck),
    OnBuild: read('OnBuild', textsAt),
    Shell: read('Shell', textsAt),
    ArgsEscaped: read('ArgsEscaped', flagAt),
    StopTimeout: read('StopTimeout', integerAt),
  });
}

function parseHealthcheck(value: unknown, where: string): ImageHealthcheck {
  const document = objectAt(value, where);
  const number = (key: string) => optional(document[key], `${where}.${key}`, integerAt);
  return compact({
    Test: optional(document['Test'], `${where}.Test`, textsAt),
    Interval: number('Interval'),
    Timeout: number('Timeout'),
    StartPeriod: number('StartPeriod'),
    StartInterval: number('StartInterval'),
    Retries: number('Retries'),
  });
}

function parseHistoryEntry(value: unknown, where: string): ImageHistoryEntry {
  const document = objectAt(value, where);
  return compact({
    created: optional(document['created'], `${where}.created`, timeAt),
    created_by: optional(document['created_by'], `${where}.created_by`, textAt),
    author: optional(document['author'], `${where}.author`, textAt),
    comment: optional(document['comment'], `${where}.comment`, textAt),
    empty_layer: optional(document['empty_layer'], `${where}.empty_layer`, flagAt),
  });
}

function timeAt(value: unknown, where: string): string {
  const text = textAt(value, where);
  if (/^\d{4}-\d\d-\d\dT/.test(text) && Number.isFinite(Date.parse(text))) return text;
  throw new TareError('InvalidArgument', `${where}: want a time as in RFC 3339, not ${JSON.stringify(text)}`);
}

/** When an image says it was made, in milliseconds since the epoch; 0 when it doesn't say. */
export const createdMsOf = (config: ImageConfigFile): number =>
  config.created === undefined ? 0 : Date.parse(config.created);
