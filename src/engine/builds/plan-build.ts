import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { makeScratch, type TypedOptions } from '../../build/index.ts';
import { kindOf, TareError } from '../../errors/index.ts';
import { layoutEntryNamed, nameInLayout } from '../../image/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import { commitName } from '../image-commit.ts';
import { makeBuilderFolders } from './build-cache.ts';
import type { BuildOptions, BuildOutput, PlannedBuild } from './build-options.ts';
import { layoutStores } from './layout-outputs.ts';
import type { SessionOptions } from './session-options.ts';
import { type ContextParts, unpackContext } from './unpack-context.ts';
import { untilAborted } from './until-aborted.ts';

/** Enough of a stream to tell an archive from a text: a tar's magic is at 257. */
const PEEKED_BYTES = 512;
/** As clients of BuildKit have it where none is given. */
const DEFAULT_TAG = 'latest';
/** Of a Dockerfile that comes by a stream. */
const MAX_DOCKERFILE_BYTES = 1 << 20;

/**
 * Puts a build in the builder's words: what a frontend, exporters and caches are told, and what the session has to offer.
 * Dispose it when the build is over: it may have written a Dockerfile from a stream to a folder of its own.
 *
 * @param parts for a context that is an archive; undefined: there is no engine here
 * @throws {TareError} InvalidArgument: options that exclude each other; a name that is none; what is wrong with an archive
 */
export async function planBuild(
  parts: ContextParts | undefined,
  options: BuildOptions,
  signal: AbortSignal,
): Promise<PlannedBuild & AsyncDisposable> {
  for (const tag of options.tags ?? []) commitName(tag);
  await using undo = new AsyncDisposableStack();
  const folders: Record<string, string> = {};
  const uploads: Record<string, AsyncIterable<Uint8Array>> = {};
  const contentStores: Record<string, string> = {};
  const attributes: Record<string, string> = { ...plainAttributes(options) };
  let sharedKey: string | undefined;
  const scratch = async () =>
    parts === undefined ? await temporaryFolder() : makeScratch(makeBuilderFolders(parts.config).execDirectory);

  const keep = async (bytes: Uint8Array): Promise<string> => {
    const { path: folder } = undo.use(await scratch());
    await writeFile(join(folder, 'Dockerfile'), bytes, { mode: 0o600 });
    return folder;
  };
  const { context, dockerfile } = options;
  if (dockerfile !== undefined && 'bytes' in dockerfile) folders['dockerfile'] = await keep(dockerfile.bytes);
  if ('folder' in context) {
    folders['context'] = resolve(context.folder);
    if (dockerfile === undefined) folders['dockerfile'] = folders['context'];
    else if ('path' in dockerfile) {
      const path = isAbsolute(dockerfile.path) ? dockerfile.path : resolve(dockerfile.path);
      folders['dockerfile'] = dirname(path);
      attributes['filename'] = basename(path);
    }
  } else if ('archive' in context) {
    if (parts === undefined) throw new TareError('Unsupported', 'an archive is unpacked by the engine that builds');
    const path = dockerfile !== undefined && 'path' in dockerfile ? dockerfile.path : 'Dockerfile';
    const unpacked = undo.use(await unpackContext(parts, context.archive, path, signal));
    Object.assign(folders, unpacked.folders);
  } else if ('ofSession' in context) {
    if (dockerfile !== undefined && 'path' in dockerfile) attributes['filename'] = dockerfile.path;
  } else if ('url' in context) {
    attributes['context'] = context.url;
    if (dockerfile !== undefined && 'path' in dockerfile) attributes['filename'] = dockerfile.path;
  } else {
    const { head, rest } = await peek(untilAborted(context.stream, signal));
    if (isArchive(head)) {
      const id = randomUUID();
      uploads[id] = rest;
      attributes['context'] = `http://buildkit-session/${id}`;
      if (dockerfile !== undefined && 'path' in dockerfile) attributes['filename'] = dockerfile.path;
    } else {
      if (dockerfile !== undefined)
        throw new TareError('InvalidArgument', 'the stream is a Dockerfile, but another one is named: leave one out');
      folders['dockerfile'] = await keep(await gather(rest));
      // A folder of its own with nothing in it: this Dockerfile has no context.
      folders['context'] = undo.use(await scratch()).path;
      sharedKey = 'a Dockerfile alone';
    }
  }
  if (attributes['context'] !== undefined && folders['dockerfile'] !== undefined)
    attributes['dockerfilekey'] = 'dockerfile';
  for (const [name, source] of Object.entries(options.contexts ?? {})) {
    const { value, folder, store } = await namedContext(name, source);
    attributes[`context:${name}`] = value;
    if (folder !== undefined) folders[folder.name] = folder.path;
    if (store !== undefined) contentStores[store.id] = store.folder;
  }
  const outputs = options.outputs ?? [{ type: 'image', attributes: {} }];
  const plan: PlannedBuild = {
    request: {
      frontend: 'dockerfile.v0',
      frontendOptions: attributes,
      exporters: options.question === undefined ? outputs.map((output) => exporterOf(output, options)) : [],
      cacheImports: await Promise.all((options.cacheFrom ?? []).map((cache) => cacheImport(cache, contentStores))),
      cacheExports: (options.cacheTo ?? []).map((cache) => localCache(cache, 'dest', contentStores)),
      entitlements: options.allow ?? [],
      isInternal: options.question !== undefined,
      ...(options.limits && { limits: options.limits }),
    },
    session: {
      sharedKey: sharedKey ?? folders['context'] ?? attributes['context'] ?? '',
      // Archives carry any times.
      isOneTime: 'archive' in context,
      ...{ folders, uploads, contentStores: { ...contentStores, ...layoutStores(outputs) } },
      ...(options.registryAuth && { registryAuth: options.registryAuth }),
      secrets: options.secrets ?? {},
      sshAgents: options.sshAgents ?? {},
      outputs: destinations(outputs),
    },
  };
  const owned = undo.move();
  return { ...plan, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Where there is no engine whose folders serve. */
async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'tare-build-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** What goes to the frontend as it is. */
function plainAttributes(options: BuildOptions): Record<string, string> {
  const { platforms = [], noCache, ulimits = [], extraHosts = [], devices = [] } = options;
  const optional: Record<string, string | undefined> = {
    target: options.target,
    platform: platforms.length === 0 ? undefined : platforms.join(','),
    'no-cache': noCache === true ? '' : Array.isArray(noCache) && noCache.length > 0 ? noCache.join(',') : undefined,
    'image-resolve-mode': options.pull ? 'pull' : undefined,
    'force-network-mode': options.network === undefined || options.network === 'default' ? undefined : options.network,
    'add-hosts': extraHosts.length === 0 ? undefined : extraHosts.map(hostEntry).join(','),
    'shm-size': options.shmSizeBytes === undefined ? undefined : String(options.shmSizeBytes),
    ulimit: ulimits.length === 0 ? undefined : ulimits.join(','),
    'cgroup-parent': options.cgroupParent,
    devices: devices.length === 0 ? undefined : devices.map(csvField).join(','),
    requestid: options.question,
    'frontend.caps': options.question === undefined ? undefined : 'moby.buildkit.frontend.subrequests',
    'build-arg:SOURCE_DATE_EPOCH': options.sourceDateEpoch === undefined ? undefined : String(options.sourceDateEpoch),
  };
  return Object.fromEntries([
    ...Object.entries(optional).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ...Object.entries(options.buildArgs ?? {}).map(([name, value]) => [`build-arg:${name}`, value]),
    ...Object.entries(options.labels ?? {}).map(([name, value]) => [`label:${name}`, value]),
    ...Object.entries(options.attestations ?? {}).map(([name, value]) => [`attest:${name}`, value]),
  ]);
}

/** `NAME:ADDRESS` (the address may have colons) or `NAME=ADDRESS` → `NAME=ADDRESS`. */
function hostEntry(text: string): string {
  const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
  if (name === undefined || address === undefined)
    throw new TareError('InvalidArgument', `invalid host ${JSON.stringify(text)}: want NAME:ADDRESS`);
  return `${name}=${address.replace(/^\[(.*)\]$/, '$1')}`;
}

const csvField = (text: string): string => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

async function namedContext(
  name: string,
  source: string,
): Promise<{ value: string; folder?: { name: string; path: string }; store?: { id: string; folder: string } }> {
  const layout = /^oci-layout:\/\/(.+?)(:[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?$/.exec(source);
  if (layout !== null) {
    const id = randomUUID();
    const [, folder, tag = ''] = layout;
    const digest = layout[3] ?? `@${await digestInLayout(resolve(folder!), tag.slice(1) || DEFAULT_TAG)}`;
    return { value: `oci-layout://${id}${tag}${digest}`, store: { id, folder: resolve(folder!) } };
  }
  if (/^(docker-image|https?|git|ssh|target|input):/.test(source) || /^git@/.test(source)) return { value: source };
  // The build's own folders have names, too.
  const local = name === 'context' || name === 'dockerfile' ? `_${name}` : name;
  return { value: `local:${local}`, folder: { name: local, path: resolve(source) } };
}

/** What a tag of a layout stands for: who keeps the folder knows. */
async function digestInLayout(folder: string, tag: string): Promise<string> {
  const entry = await layoutEntryNamed(folder, tag);
  if (entry !== undefined) return entry.digest;
  throw new TareError('NotFound', `nothing in the OCI layout ${folder} is named ${tag}: name one with :TAG or @DIGEST`);
}

function exporterOf({ type, attributes }: BuildOutput, options: BuildOptions): TypedOptions {
  const { tags = [] } = options;
  const named = tags.length > 0 && type !== 'local' && type !== 'tar' && attributes['name'] === undefined;
  return {
    type,
    attributes: {
      ...(named ? { name: tags.join(',') } : {}),
      ...Object.fromEntries((options.annotations ?? []).map(annotationAttribute)),
      ...attributes,
    },
  };
}

/** `KEY=VALUE`, `index:KEY=VALUE`, `manifest[linux/amd64],index:KEY=VALUE` → the exporter's attribute. */
function annotationAttribute(text: string): [string, string] {
  const [, level, key, value] =
    /^(?:((?:index|manifest|index-descriptor|manifest-descriptor)(?:\[[^\]]*\])?):)?([^=:]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined)
    throw new TareError('InvalidArgument', `invalid annotation ${JSON.stringify(text)}: want [TYPE:]KEY=VALUE`);
  const [, kind = 'manifest', platform = ''] = /^([a-z-]+)(\[[^\]]*\])?$/.exec(level ?? 'manifest') ?? [];
  return [`annotation-${kind}${platform}.${key}`, value];
}

/** Caches of type `local` are OCI layouts at the client: content stores of its session. */
function localCache(cache: TypedOptions, key: 'src' | 'dest', contentStores: Record<string, string>): TypedOptions {
  if (cache.type !== 'local') return cache;
  const folder = cache.attributes[key];
  if (folder === undefined) throw new TareError('InvalidArgument', `cache of type local: ${key}=FOLDER is missing`);
  const id = `local:${resolve(folder)}`;
  contentStores[id] = resolve(folder);
  return { type: 'local', attributes: { ...cache.attributes, [key]: resolve(folder) } };
}

/** The client keeps the folder's index: it says what a tag of it stands for. */
async function cacheImport(cache: TypedOptions, contentStores: Record<string, string>): Promise<TypedOptions> {
  const { type, attributes } = localCache(cache, 'src', contentStores);
  if (type !== 'local' || attributes['digest'] !== undefined) return { type, attributes };
  const { tag = DEFAULT_TAG, src } = attributes;
  try {
    const entry = await layoutEntryNamed(src!, tag);
    return entry === undefined ? { type, attributes } : { type, attributes: { ...attributes, digest: entry.digest } };
  } catch (error) {
    // A folder that is not there yet is a cache with nothing in it, which the builder tells.
    if (kindOf(error) === 'NotFound' || kindOf(error) === 'InvalidArgument') return { type, attributes };
    throw error;
  }
}

/** Caches in folders by their new root get their tag in the folder's index. */
export async function nameLocalCaches(
  cacheExports: readonly TypedOptions[],
  response: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [position, { type, attributes }] of cacheExports.entries()) {
    const written = response[`cache.manifest/${position}`] ?? response['cache.manifest'];
    if (type !== 'local' || written === undefined) continue;
    await nameInLayout(attributes['dest']!, attributes['tag'] ?? DEFAULT_TAG, JSON.parse(written) as Descriptor);
  }
}

/** Of outputs by their positions, as exporters name them. */
export function destinations(outputs: readonly BuildOutput[]): NonNullable<SessionOptions['outputs']> {
  return Object.fromEntries(
    outputs.flatMap(({ destination }, index) => (destination === undefined ? [] : [[String(index), destination]])),
  );
}

async function peek(stream: AsyncIterable<Uint8Array>): Promise<{ head: Uint8Array; rest: AsyncIterable<Uint8Array> }> {
  const iterator = stream[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size < PEEKED_BYTES) {
    const { value, done } = await iterator.next();
    if (done === true) break;
    chunks.push(value);
    size += value.length;
  }
  async function* rest() {
    yield* chunks;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head: Buffer.concat(chunks).subarray(0, PEEKED_BYTES), rest: rest() };
}

/** A tar, or what a packed one begins with. */
function isArchive(head: Uint8Array): boolean {
  const magics = [
    [0x1f, 0x8b],
    [0x42, 0x5a, 0x68],
    [0xfd, 0x37, 0x7a, 0x58, 0x5a],
    [0x28, 0xb5, 0x2f, 0xfd],
  ];
  if (magics.some((magic) => magic.every((byte, index) => head[index] === byte))) return true;
  return Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';
}

async function gather(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > MAX_DOCKERFILE_BYTES)
      throw new TareError('InvalidArgument', `the Dockerfile has over ${MAX_DOCKERFILE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
