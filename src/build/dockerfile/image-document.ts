import { type ImageConfigFile, type ImageProcessConfig, normalized, parseImageConfig } from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';

const HISTORY_COMMENT = 'buildkit.dockerfile.v0';
const DEFAULT_PATHS: Record<string, string> = {
  windows: 'c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0',
};
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What an image says of itself, while a stage makes it. */
export interface ImageDocument extends ImageConfigFile {
  config: ImageProcessConfig;
  history: NonNullable<ImageConfigFile['history']>;
}

export const defaultPath = (os: string): string => DEFAULT_PATHS[os] ?? DEFAULT_PATH;

export const emptyImage = (platform: Platform): ImageDocument => ({
  ...platform,
  config: { WorkingDir: '/' },
  rootfs: { type: 'layers', diff_ids: [] },
  history: [],
});

/** @throws {TareError} InvalidArgument: it is no image's config */
export function readImage(bytes: Uint8Array, what: string): ImageDocument {
  const file = parseImageConfig(bytes, what);
  return { ...file, config: file.config ?? {}, history: file.history ?? [] };
}

export const platformOf = (image: ImageConfigFile): Platform =>
  normalized({
    os: image.os,
    architecture: image.architecture,
    ...(image.variant === undefined ? {} : { variant: image.variant }),
    ...(image['os.version'] === undefined ? {} : { 'os.version': image['os.version'] }),
  });

/**
 * Adds a step to the history.
 * @param epochSeconds the time of the step; undefined: known when it is done
 */
export function record(
  image: ImageDocument,
  createdBy: string,
  hasLayer: boolean,
  epochSeconds: number | undefined,
): void {
  image.history.push({
    ...(epochSeconds === undefined ? {} : { created: timeText(epochSeconds) }),
    created_by: createdBy,
    comment: HISTORY_COMMENT,
    ...(hasLayer ? {} : { empty_layer: true }),
  });
}

export const timeText = (epochSeconds: number): string =>
  new Date(epochSeconds * 1000).toISOString().replace('.000Z', 'Z');

/** Variables of an image, later ones over earlier ones. */
export const variablesOf = (config: ImageProcessConfig): [string, string][] =>
  (config.Env ?? []).map((entry) => {
    const equals = entry.indexOf('=');
    return equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)];
  });

/** Where variables stand in lists of this file's own: a Dockerfile may set thousands. */
const placesIn = new WeakMap<readonly string[], Map<string, number>>();

export function setVariable(config: ImageProcessConfig, key: string, value: string): void {
  const [list, places] = ownVariables(config);
  const known = places.get(key);
  if (known === undefined) places.set(key, list.push(`${key}=${value}`) - 1);
  else list[known] = `${key}=${value}`;
}

function ownVariables(config: ImageProcessConfig): [string[], Map<string, number>] {
  const known = config.Env && placesIn.get(config.Env);
  if (known !== undefined) return [config.Env!, known];
  const places = new Map<string, number>();
  // Of two of a name the first one counts, as it did in the list.
  for (const [place, [key]] of variablesOf(config).entries()) if (!places.has(key)) places.set(key, place);
  config.Env = [...(config.Env ?? [])];
  placesIn.set(config.Env, places);
  return [config.Env, places];
}

/** Maps of this file's own. */
const ownMaps = new WeakSet<object>();

/** A map of the document with more in it, or other values: the same one if it came from here. */
export function withEntries<T>(
  map: Record<string, T> | undefined,
  entries: Iterable<readonly [string, T]>,
): Record<string, T> {
  const own = map !== undefined && ownMaps.has(map) ? map : { ...map };
  ownMaps.add(own);
  // Any name is one, `__proto__` as well.
  for (const [key, value] of entries)
    Object.defineProperty(own, key, { value, configurable: true, enumerable: true, writable: true });
  return own;
}

/** Another one that says the same. The entries of its lists and maps are shared: nobody changes them. */
export function copyOf(image: ImageDocument): ImageDocument {
  const copied = (value: unknown) => (Array.isArray(value) ? [...value] : isMap(value) ? { ...value } : value);
  const config = Object.fromEntries(Object.entries(image.config).map(([key, value]) => [key, copied(value)]));
  return { ...image, config: config as ImageProcessConfig, history: [...image.history] };
}

/** Entries of its lists and maps, about. */
export function sizeOf({ config, history }: ImageDocument): number {
  const { Env, Labels, ExposedPorts, Volumes, OnBuild } = config;
  const maps = [Labels, ExposedPorts, Volumes].map((map) => Object.keys(map ?? {}).length);
  return maps.reduce((sum, size) => sum + size, history.length + (Env?.length ?? 0) + (OnBuild?.length ?? 0));
}

const isMap = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** The document as it goes to an exporter: fields in Go's order, maps by their keys, so that equal images have equal bytes. */
export function imageBytes(image: ImageDocument): Uint8Array {
  const { created, author, architecture, variant, os, config, rootfs, history } = image;
  const sorted = <T>(map: Record<string, T> | undefined) =>
    map === undefined || Object.keys(map).length === 0
      ? undefined
      : Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
  const filled = <T>(list: readonly T[] | null | undefined) => (list == null || list.length === 0 ? undefined : list);
  const document = {
    created,
    author: author || undefined,
    architecture,
    variant: variant || undefined,
    os,
    'os.version': image['os.version'],
    'os.features': image['os.features'],
    config: {
      User: config.User || undefined,
      ExposedPorts: sorted(config.ExposedPorts),
      Env: filled(config.Env),
      Entrypoint: filled(config.Entrypoint),
      Cmd: filled(config.Cmd),
      Volumes: sorted(config.Volumes),
      WorkingDir: config.WorkingDir || undefined,
      Labels: sorted(config.Labels),
      StopSignal: config.StopSignal || undefined,
      ArgsEscaped: config.ArgsEscaped || undefined,
      Healthcheck: config.Healthcheck,
      OnBuild: filled(config.OnBuild),
      StopTimeout: config.StopTimeout,
      Shell: filled(config.Shell),
    },
    rootfs,
    history,
  };
  return Buffer.from(JSON.stringify(document));
}
