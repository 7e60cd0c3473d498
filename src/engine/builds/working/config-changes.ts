import { posix } from 'node:path';
import { TareError } from '../../../errors/index.ts';
import type { ImageProcessConfig } from '../../../image/index.ts';
import { applyChanges, parseExposedPorts } from '../../../image/index.ts';
import type { WorkingRecord } from './working-records.ts';
import type { ConfigChanges } from './working-types.ts';

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** The entry of a step that changed no file, as docker's builders write it. */
export const emptyEntry = (createdBy: string, nowMs: number) => ({
  created: new Date(nowMs).toISOString(),
  created_by: createdBy,
  empty_layer: true,
});

/** @throws {TareError} InvalidArgument: naming the value; the record may be half changed then */
export function changeConfig(record: WorkingRecord, changes: ConfigChanges, nowMs: number): void {
  const { config } = record;
  clear(record, changes.clear ?? []);
  if (changes.env !== undefined) config.Env = changedEnv(config.Env ?? [], changes.env);
  if (changes.labels !== undefined) config.Labels = changedMap(config.Labels, changes.labels, 'label');
  if (changes.annotations !== undefined)
    record.annotations = changedMap(record.annotations, changes.annotations, 'annotation');
  if (changes.ports !== undefined) config.ExposedPorts = changedPorts(config.ExposedPorts, changes.ports);
  if (changes.volumes !== undefined) config.Volumes = changedVolumes(config.Volumes, changes.volumes);
  assign(config, 'Cmd', changes.cmd);
  assign(config, 'Entrypoint', changes.entrypoint);
  assign(config, 'Shell', changes.shell);
  assign(config, 'User', changes.user);
  assign(config, 'Healthcheck', changes.healthcheck);
  assign(config, 'StopSignal', changes.stopSignal === null ? null : changes.stopSignal && signal(changes.stopSignal));
  if (changes.workingDir !== undefined) assign(config, 'WorkingDir', workingDir(changes.workingDir));
  if (changes.onBuild !== undefined && changes.onBuild.length > 0)
    config.OnBuild = [...(config.OnBuild ?? []), ...changes.onBuild.map(trigger)];
  for (const key of ['author', 'comment', 'createdBy', 'historyComment'] as const)
    if (changes[key] !== undefined) record[key] = changes[key];
  changePlatform(record, changes);
  dropEmpty(config);
  if (changes.addsHistory === true)
    for (const words of instructionsOf(changes)) record.history.push(emptyEntry(`/bin/sh -c #(nop) ${words}`, nowMs));
}

function clear(record: WorkingRecord, lists: readonly string[]): void {
  const { config } = record;
  for (const list of lists) {
    if (list === 'env') delete config.Env;
    else if (list === 'labels') delete config.Labels;
    else if (list === 'ports') delete config.ExposedPorts;
    else if (list === 'volumes') delete config.Volumes;
    else if (list === 'onBuild') delete config.OnBuild;
    else record.annotations = {};
  }
}

function assign<K extends keyof ImageProcessConfig>(
  config: ImageProcessConfig,
  key: K,
  value: ImageProcessConfig[K] | readonly string[] | null | undefined,
): void {
  if (value === undefined) return;
  if (value === null || value === '') delete config[key];
  else config[key] = (Array.isArray(value) ? [...value] : value) as ImageProcessConfig[K];
}

function changedEnv(env: readonly string[], changes: Readonly<Record<string, string | null>>): string[] {
  const variables = new Map(env.map((entry) => entry.split(/=(.*)/s, 2) as [string, string]));
  for (const [name, value] of Object.entries(changes)) {
    if (name === '' || /[=\0]/.test(name)) throw invalid(`invalid variable ${JSON.stringify(name)}: want NAME=VALUE`);
    if (value === null) variables.delete(name);
    else variables.set(name, value);
  }
  return [...variables].map(([name, value]) => `${name}=${value ?? ''}`);
}

function changedMap(
  map: Readonly<Record<string, string>> | undefined,
  changes: Readonly<Record<string, string | null>>,
  what: string,
): Record<string, string> {
  const entries = new Map(Object.entries(map ?? {}));
  for (const [key, value] of Object.entries(changes)) {
    if (key === '') throw invalid(`invalid ${what}: want KEY=VALUE`);
    if (value === null) entries.delete(key);
    else entries.set(key, value);
  }
  return Object.fromEntries(entries);
}

function changedPorts(
  ports: Readonly<Record<string, object>> | undefined,
  changes: NonNullable<ConfigChanges['ports']>,
): Record<string, object> {
  const all = new Set(Object.keys(ports ?? {}));
  for (const [text, isWanted] of Object.entries(changes)) {
    for (const port of parseExposedPorts(text).ports) {
      if (isWanted === null) all.delete(port);
      else all.add(port);
    }
  }
  return Object.fromEntries([...all].map((port) => [port, {}]));
}

function changedVolumes(
  volumes: Readonly<Record<string, object>> | undefined,
  changes: NonNullable<ConfigChanges['volumes']>,
): Record<string, object> {
  const all = new Set(Object.keys(volumes ?? {}));
  for (const [path, isWanted] of Object.entries(changes)) {
    if (path === '') throw invalid('a volume wants a path');
    if (isWanted === null) all.delete(path);
    else all.add(path);
  }
  return Object.fromEntries([...all].map((path) => [path, {}]));
}

function workingDir(path: string | null): string | null {
  if (path === null || path === '') return null;
  if (!path.startsWith('/')) throw invalid(`invalid working folder ${JSON.stringify(path)}: want an absolute path`);
  return posix.normalize(path);
}

/** Checked by those who know the instructions. */
const signal = (text: string): string => applyChanges({}, [`STOPSIGNAL ${text}`]).StopSignal ?? text;
const trigger = (text: string): string => applyChanges({}, [`ONBUILD ${text}`]).OnBuild?.[0] ?? text;

function changePlatform(record: WorkingRecord, changes: ConfigChanges): void {
  const { platform } = record;
  if (changes.architecture !== undefined) platform.architecture = required('architecture', changes.architecture);
  if (changes.os !== undefined) platform.os = required('os', changes.os);
  if (changes.variant !== undefined) optionally('variant', changes.variant);
  if (changes.osVersion !== undefined) optionally('os.version', changes.osVersion);
  if (changes.osFeatures !== undefined) {
    if (changes.osFeatures.length === 0) delete platform['os.features'];
    else platform['os.features'] = [...changes.osFeatures];
  }

  function optionally(key: 'variant' | 'os.version', value: string): void {
    if (value === '') delete platform[key];
    else platform[key] = value;
  }
}

function required(what: string, value: string): string {
  if (value !== '') return value;
  throw invalid(`an image needs an ${what}: it cannot be empty`);
}

/** What nothing is left of is not said at all. */
function dropEmpty(config: ImageProcessConfig): void {
  if (config.Env?.length === 0) delete config.Env;
  for (const key of ['Labels', 'ExposedPorts', 'Volumes'] as const)
    if (config[key] !== undefined && Object.keys(config[key]).length === 0) delete config[key];
}

function* instructionsOf(changes: ConfigChanges): Generator<string> {
  const list = (words: readonly string[] | null) => (words ?? []).join(' ');
  if (changes.user !== undefined) yield `USER ${changes.user ?? ''}`;
  if (changes.shell !== undefined) yield `SHELL ${list(changes.shell)}`;
  if (changes.stopSignal !== undefined) yield `STOPSIGNAL ${changes.stopSignal ?? ''}`;
  for (const [port, isWanted] of Object.entries(changes.ports ?? {})) if (isWanted) yield `EXPOSE ${port}`;
  for (const [name, value] of Object.entries(changes.env ?? {})) if (value !== null) yield `ENV ${name}=${value}`;
  if (changes.entrypoint !== undefined) yield `ENTRYPOINT ${list(changes.entrypoint)}`;
  if (changes.cmd !== undefined) yield `CMD ${list(changes.cmd)}`;
  for (const [path, isWanted] of Object.entries(changes.volumes ?? {})) if (isWanted) yield `VOLUME ${path}`;
  for (const words of changes.onBuild ?? []) yield `ONBUILD ${words}`;
  for (const [key, value] of Object.entries(changes.labels ?? {})) if (value !== null) yield `LABEL ${key}=${value}`;
  if (changes.workingDir !== undefined) yield `WORKDIR ${changes.workingDir ?? ''}`;
  if (changes.healthcheck != null) yield `HEALTHCHECK ${(changes.healthcheck.Test ?? []).join(' ')}`;
}
