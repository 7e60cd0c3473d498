import { randomUUID } from 'node:crypto';
import type { BridgeRef, FrontendResult } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { applyChanges, canonical, type ImageHistoryEntry } from '../../../image/index.ts';
import { SyscallError, unmount } from '../../../linux/index.ts';
import { type LayerName, newLocalLayer } from '../../../storage/index.ts';
import { commitName } from '../../image-commit.ts';
import type { BuildOutcome } from '../build-service.ts';
import { layoutStores, nameInOwnLayout } from '../layout-outputs.ts';
import { openLocalSession } from '../local-session.ts';
import { outcomeOf } from '../outcome.ts';
import { destinations } from '../plan-build.ts';
import type { HeldWorking, WorkingDeps } from './working-deps.ts';
import { settleFreeze } from './working-deps.ts';
import { isMounted, layersOf, updateWorking, type WorkingRecord } from './working-records.ts';
import type { CommitOptions } from './working-types.ts';

const DEFAULT_CREATOR = '/bin/sh';

/**
 * Makes an image of a held container. Its snapshot becomes a layer where it lies, and a new snapshot stands above it: nothing is copied.
 */
export async function commitWorking(
  deps: WorkingDeps,
  { record, key }: HeldWorking,
  name: string | undefined,
  options: CommitOptions,
): Promise<BuildOutcome> {
  const { parts } = deps;
  const signal = options.signal ?? new AbortController().signal;
  // What can be refused is refused before anything is done.
  const image = name === undefined ? undefined : canonical(commitName(name));
  const config = applyChanges(record.config, options.changes ?? []);
  const createdMs = options.timestamp === undefined ? Date.now() : options.timestamp * 1000;
  const entry = entryOf(record, options, createdMs);
  await using _content = await deps.images.hold();
  const frozen = await freeze(deps, record, key, entry);
  const layers = layersOf(frozen);
  const tree = options.squash === true ? [await parts.layers.difference([], layers, signal)] : layers;
  const history = options.squash === true ? [entry] : historyOf(frozen, entry);
  const document = {
    ...frozen.platform,
    ...(options.author || record.author ? { author: options.author || record.author } : {}),
    ...(options.message || record.comment ? { comment: options.message || record.comment } : {}),
    config,
    history,
  };
  const outputs = options.outputs ?? [{ type: 'image', attributes: {} }];
  const attributes = attributesOf(frozen, image, options);
  await using session = openLocalSession({
    outputs: destinations(outputs),
    contentStores: layoutStores(outputs),
    asUser: deps.asUser,
  });
  const builder = await deps.builder();
  const result = await builder.build(
    {
      ref: randomUUID(),
      drive: async () => resultOf(tree, document, frozen),
      exporters: outputs.map(({ type, attributes: own }) => ({ type, attributes: { ...attributes, ...own } })),
      ...{ cacheExports: [], cacheImports: [], entitlements: [], isInternal: true, session },
    },
    options.progress ?? (() => {}),
    signal,
  );
  await nameInOwnLayout(outputs, result.exporterResponse);
  return outcomeOf(result);
}

/** The entry of the layer to come. */
function entryOf(record: WorkingRecord, { author, message }: CommitOptions, createdMs: number): ImageHistoryEntry {
  const comment = message || record.historyComment || (record.base === undefined ? '' : `FROM ${record.base.ref}`);
  const shell = record.config.Shell?.join(' ');
  return {
    // As Go writes whole seconds.
    created: new Date(createdMs).toISOString().replace('.000Z', 'Z'),
    created_by: record.createdBy || shell || DEFAULT_CREATOR,
    ...(author || record.author ? { author: author || record.author } : {}),
    ...(comment === '' ? {} : { comment }),
  };
}

/**
 * Makes a layer of what was changed since the last commit, if anything was, and a new snapshot above it. The layer's name is recorded
 * first: wherever this is cut short, `settleFreeze` finishes it.
 */
async function freeze(
  { parts }: WorkingDeps,
  record: WorkingRecord,
  key: string,
  entry: ImageHistoryEntry,
): Promise<WorkingRecord> {
  const { db, layers } = parts;
  if ((await layers.usage(key)).inodes <= 1 && (await layers.changes(key)).length === 0) return record;
  const isShown = isMounted(record);
  if (isShown) unmountUnused(layers.mountPath(key), record.name);
  else layers.unmount(key);
  const layer = newLocalLayer();
  const begun = await updateWorking(db, record.id, (current) => {
    current.freezing = { layer, entry };
  });
  const frozen = await settleFreeze(parts, begun);
  await layers.prepare(key, layersOf(frozen), { isBare: true });
  if (isShown) layers.mount(key);
  return frozen;
}

/** Whoever is still in the mounted files would write into a layer. */
function unmountUnused(path: string, name: string): void {
  try {
    unmount(path, 0);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    // EINVAL: nothing is mounted there, as with the driver vfs.
    if (error.code !== 'EBUSY') return;
    throw new TareError(
      'Conflict',
      `the files of ${name} are in use at ${path}: end what works there, or leave that folder, and commit again`,
      { cause: error },
    );
  }
}

/** Without a change there is no layer, and the entry says so. */
function historyOf({ base, layers, history }: WorkingRecord, entry: ImageHistoryEntry): ImageHistoryEntry[] {
  const spoken = history.filter((one) => one.empty_layer !== true).length;
  const isSpokenFor = layers.length > 0 && spoken >= (base?.layers.length ?? 0) + layers.length;
  return isSpokenFor ? history : [...history, { ...entry, empty_layer: true }];
}

function attributesOf(
  { base, annotations }: WorkingRecord,
  image: string | undefined,
  { format = 'oci', timestamp }: CommitOptions,
): Record<string, string> {
  const isOci = format === 'oci';
  const origin: Record<string, string> =
    base === undefined
      ? {}
      : {
          'org.opencontainers.image.base.digest': base.manifestDigest,
          'org.opencontainers.image.base.name': base.ref,
        };
  const all = isOci ? Object.entries({ ...origin, ...annotations }) : [];
  return {
    ...(image === undefined ? {} : { name: image }),
    'oci-mediatypes': String(isOci),
    ...(timestamp === undefined ? {} : { 'source-date-epoch': String(timestamp), 'rewrite-timestamp': 'true' }),
    ...Object.fromEntries(all.map(([key, value]) => [`annotation-manifest.${key}`, value])),
  };
}

/** A tree that is there, as the result of a build. */
function resultOf(layers: readonly LayerName[], document: object, { base }: WorkingRecord): FrontendResult {
  const refuse = async (): Promise<never> => {
    throw new TareError('Unsupported', 'the files of a working container are not read this way');
  };
  const ref: BridgeRef = {
    ...{ id: randomUUID(), definition: undefined, tree: async () => ({ layers }) },
    ...{ readFile: refuse, readDirectory: refuse, status: refuse },
  };
  const bytes = (value: object) => Buffer.from(JSON.stringify(value));
  return {
    ref,
    refs: new Map(),
    metadata: new Map([
      ['containerimage.config', bytes(document)],
      // Whose layers keep their times.
      ['containerimage.base.config', bytes({ rootfs: { diff_ids: base?.layers ?? [] } })],
    ]),
    attestations: new Map(),
  };
}
