import * as T from 'typebox';
import type { BuildOptions, RegistryOptions } from '../../../engine/index.ts';
import { messageOf, TareError } from '../../../errors/index.ts';
import { credentialsOf, registryDomain } from './registry-auth.ts';

/** Of `POST /build`. Numbers that are none count as 0, as with docker. */
export const buildQuery = T.Object({
  dockerfile: T.String(),
  t: T.Array(T.String()),
  extrahosts: T.Array(T.String()),
  remote: T.String(),
  q: T.Boolean(),
  nocache: T.Boolean(),
  cachefrom: T.String(),
  pull: T.Boolean(),
  rm: T.Boolean({ default: true }),
  forcerm: T.Boolean(),
  memory: T.String(),
  memswap: T.String(),
  cpushares: T.String(),
  cpusetcpus: T.String(),
  cpusetmems: T.String(),
  cpuperiod: T.String(),
  cpuquota: T.String(),
  cgroupparent: T.String(),
  shmsize: T.String(),
  ulimits: T.String(),
  buildargs: T.String(),
  labels: T.String(),
  squash: T.Boolean(),
  securityopt: T.String(),
  networkmode: T.String(),
  platform: T.String(),
  target: T.String(),
  outputs: T.String(),
  version: T.String(),
  buildid: T.String(),
  session: T.String(),
});

export type BuildQuery = T.Static<typeof buildQuery>;

/** @throws {TareError} InvalidArgument: `error reading build args: …` */
export function parseJson(text: string, what: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TareError('InvalidArgument', `error reading ${what}: ${messageOf(cause)}`, { cause });
  }
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON object of texts; what is null is not there. */
export function readTexts(text: string, what: string): Record<string, string> {
  const value = parseJson(text, what) ?? {};
  if (!isTable(value)) throw wrong(what, 'want an object of texts');
  const entries = Object.entries(value).filter(([, each]) => each !== null);
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === 'string'))
    throw wrong(what, 'want an object of texts');
  return Object.fromEntries(entries);
}

export function readList(text: string, what: string): string[] {
  const value = parseJson(text, what) ?? [];
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string'))
    throw wrong(what, 'want a list of texts');
  return value;
}

/** `[{"Name":"nofile","Soft":1024,"Hard":2048}]` → `nofile=1024:2048` */
export function readUlimits(text: string): string[] {
  const value = parseJson(text, 'ulimit settings') ?? [];
  if (!Array.isArray(value) || !value.every(isTable)) throw wrong('ulimit settings', 'want a list of objects');
  return value.map(({ Name, Soft, Hard }) => {
    if (typeof Name !== 'string' || !Number.isSafeInteger(Soft) || !Number.isSafeInteger(Hard))
      throw wrong('ulimit settings', 'want objects with Name, Soft and Hard');
    return `${Name}=${Soft}:${Hard}`;
  });
}

/** `[{"Type":"moby","Attrs":{…}}]` */
export function readOutputs(text: string): { type: string; attributes: Record<string, string> }[] {
  const value = parseJson(text, 'outputs') ?? [];
  if (!Array.isArray(value) || !value.every(isTable)) throw wrong('outputs', 'want a list of objects');
  return value.map(({ Type, Attrs }) => {
    if (typeof Type !== 'string') throw wrong('outputs', 'want objects with Type and Attrs');
    return { type: Type, attributes: readTexts(JSON.stringify(Attrs ?? {}), 'outputs') };
  });
}

/** As dockerd reads numbers of a form: what is none is 0. */
export const numberOf = (text: string): number => (/^[+-]?\d{1,15}$/.test(text) ? Number(text) : 0);

const wrong = (what: string, why: string) => new TareError('InvalidArgument', `error reading ${what}: ${why}`);

/**
 * Credentials of the header `X-Registry-Config`: an object of AuthConfigs by registry, in JSON, base64url.
 * What cannot be read counts as none, as with docker.
 */
export function registryConfig(header: string | undefined): NonNullable<BuildOptions['registryAuth']> {
  const found: NonNullable<BuildOptions['registryAuth']>[string][] = [];
  const hosts: string[] = [];
  try {
    const value: unknown = JSON.parse(Buffer.from(header ?? '', 'base64url').toString('utf8'));
    for (const [address, auth] of Object.entries(isTable(value) ? value : {})) {
      const credentials = isTable(auth) ? ofSession(credentialsOf(auth)) : undefined;
      if (credentials === undefined) continue;
      hosts.push(registryDomain(address));
      found.push(credentials);
    }
  } catch {
    return {};
  }
  return Object.fromEntries(hosts.map((host, index) => [host, found[index]!]));
}

/** A session tells a token from a password by a user who has no name. */
function ofSession(
  credentials: RegistryOptions['credentials'],
): NonNullable<BuildOptions['registryAuth']>[string] | undefined {
  const { identityToken, username, password } = credentials ?? {};
  if (identityToken !== undefined) return { username: '', secret: identityToken };
  return username === undefined || password === undefined ? undefined : { username, secret: password };
}
