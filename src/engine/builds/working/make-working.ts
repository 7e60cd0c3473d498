import { kindOf } from '../../../errors/index.ts';
import {
  canonical,
  familiarName,
  hostPlatform,
  parseAnyReference,
  parsePlatform,
  withDefaultTag,
} from '../../../image/index.ts';
import type { Transaction } from '../../../state/index.ts';
import type { Platform } from '../../../storage/index.ts';
import type { RecordedImage } from '../../image-records.ts';
import { newContainerID, parseContainerName } from '../../names.ts';
import { withTriggersDone } from './base-triggers.ts';
import type { WorkingDeps } from './working-deps.ts';
import { insertWorking, keyOf, type WorkingRecord } from './working-records.ts';
import type { FromOptions } from './working-types.ts';

const SCRATCH = 'scratch';
const SUFFIX = 'working-container';
const MAX_ATTEMPTS = 10_000;

/**
 * Makes a working container: a snapshot above an image's layers, which nobody owns without a record, then the record. First the image's
 * ONBUILD instructions are done.
 *
 * @param ref an image, or `scratch` for nothing
 * @throws {TareError} NotFound: the image; AlreadyExists: the name; InvalidArgument: a name or platform
 */
export async function makeWorking(deps: WorkingDeps, ref: string, options: FromOptions): Promise<WorkingRecord> {
  const { parts, images } = deps;
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform);
  const wanted = options.name === undefined ? undefined : parseContainerName(options.name);
  const found = ref === SCRATCH ? undefined : await findImage(deps, ref, platform, options);
  if (found !== undefined) await images.requireTrusted(found.id, ref);
  await using begun = found && (await withTriggersDone(deps, ref, found, options));
  const { image, layers = [] } = begun ?? {};
  const id = newContainerID();
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${keyOf(id)}`, options.signal);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => parts.layers.remove(keyOf(id)));
  await parts.layers.prepare(keyOf(id), layers, { isBare: true });
  const base = image && {
    imageID: image.id,
    ref: nameOf(ref),
    manifestDigest: found!.index?.digest ?? found!.manifest.digest,
    layers,
  };
  const record: WorkingRecord = {
    id,
    name: wanted ?? '',
    createdMs: Date.now(),
    ...(base === undefined ? {} : { base }),
    platform: image === undefined ? (platform ?? ownPlatform()) : platformOf(image),
    config: image?.config.config ?? {},
    author: image?.config.author ?? '',
    comment: '',
    createdBy: '',
    historyComment: '',
    annotations: {},
    history: image === undefined ? [] : (image.config.history ?? layers.map(() => ({}))),
    layers: [],
    mounts: { count: 0, bootID: '' },
  };
  const alongside = (tx: Transaction) => begun?.record(tx);
  if (wanted === undefined) await insertWithName(deps, record, alongside, image === undefined ? '' : shortName(ref));
  else await insertWorking(parts.db, record, alongside);
  undo.move();
  return record;
}

async function insertWithName(
  { parts }: WorkingDeps,
  record: WorkingRecord,
  alongside: (tx: Transaction) => void,
  prefix: string,
): Promise<void> {
  const plain = prefix === '' ? SUFFIX : `${prefix}-${SUFFIX}`;
  for (let attempt = 0; ; attempt += 1) {
    record.name = attempt === 0 ? plain : `${plain}-${attempt}`;
    try {
      return await insertWorking(parts.db, record, alongside);
    } catch (error) {
      if (kindOf(error) !== 'AlreadyExists' || attempt >= MAX_ATTEMPTS) throw error;
    }
  }
}

async function findImage(
  { images }: WorkingDeps,
  ref: string,
  platform: Platform | undefined,
  { pull = 'missing', signal, ...options }: FromOptions,
): Promise<RecordedImage> {
  const isID = 'id' in parseAnyReference(ref);
  if (pull !== 'always' || isID) {
    try {
      return images.resolve(ref, platform);
    } catch (error) {
      if (kindOf(error) !== 'NotFound' || pull === 'never' || isID) throw error;
    }
  }
  const wanted = {
    ...(options.platform === undefined ? {} : { platform: options.platform }),
    ...(signal && { signal }),
  };
  for await (const _ of images.pull(ref, wanted)) signal?.throwIfAborted();
  return images.resolve(ref, platform);
}

/** As it is told again: with its registry and tag. */
function nameOf(ref: string): string {
  const parsed = parseAnyReference(ref);
  return 'id' in parsed ? parsed.id : canonical(withDefaultTag(parsed.name));
}

/** `debian` of `registry/library/debian:12`. */
function shortName(ref: string): string {
  const parsed = parseAnyReference(ref);
  const name = 'id' in parsed ? parsed.id.replace(/^sha256:/, '').slice(0, 12) : familiarName(parsed.name);
  return name.split('/').at(-1)!;
}

const platformOf = ({ config }: Pick<RecordedImage, 'config'>): WorkingRecord['platform'] => ({
  os: config.os,
  architecture: config.architecture,
  ...(config.variant === undefined ? {} : { variant: config.variant }),
  ...(config['os.version'] === undefined ? {} : { 'os.version': config['os.version'] }),
  ...(config['os.features'] === undefined ? {} : { 'os.features': config['os.features'] }),
});

function ownPlatform(): WorkingRecord['platform'] {
  const { os, architecture, variant } = hostPlatform();
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}
