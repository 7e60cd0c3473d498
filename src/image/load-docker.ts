import { TareError } from '../errors/index.ts';
import type { ContentStore, Descriptor, Digest } from '../storage/index.ts';
import type { ArchiveBlob, ArchiveSource } from './archive-source.ts';
import { MAX_LAYERS } from './config.ts';
import { listAt, objectAt, optional, parseJson, textAt, textsAt } from './json.ts';
import { type ArchivedLayer, type LoadedImage, readConfig, unpackLayers } from './loaded-image.ts';
import { layerMediaType, mediaTypes } from './manifest.ts';
import { parseReference, type Reference } from './reference.ts';
import type { Unpacker } from './unpack.ts';

/** One image in the `manifest.json` of a docker archive. */
export interface DockerArchiveEntry {
  config: string;
  /** Base first. */
  layers: string[];
  names: Reference[];
}

const MAX_IMAGES = 1000;

/** @throws {TareError} InvalidArgument: the field and what would be right */
export function parseDockerArchive(bytes: Uint8Array, what: string): DockerArchiveEntry[] {
  const where = `${what}: manifest.json`;
  const document = parseJson(bytes, where, bytes.byteLength);
  return listAt(
    document,
    where,
    (value, at) => {
      const entry = objectAt(value, at);
      return {
        config: textAt(entry['Config'], `${at}.Config`),
        layers:
          optional(entry['Layers'], `${at}.Layers`, (layers, inside) => listAt(layers, inside, textAt, MAX_LAYERS)) ??
          [],
        names: (optional(entry['RepoTags'], `${at}.RepoTags`, textsAt) ?? []).map((tag) => parseTag(tag, where)),
      };
    },
    MAX_IMAGES,
  );
}

function parseTag(text: string, where: string): Reference {
  const name = parseReference(text);
  if (name.tag !== undefined) return name;
  throw new TareError('InvalidArgument', `${where}: invalid tag ${JSON.stringify(text)}: want NAME:TAG`);
}

/** Stores one image of a docker archive, with a manifest made for it: such archives have none. */
export async function loadDockerImage(
  source: ArchiveSource,
  content: ContentStore,
  unpacker: Unpacker,
  entry: DockerArchiveEntry,
): Promise<LoadedImage> {
  const what = `${source.what}: image ${entry.names[0] === undefined ? entry.config : entry.names[0].path}`;
  const configBlob = await requireFile(source, entry.config);
  const config = await readConfig(content, configBlob, source.what);
  const archived: ArchivedLayer[] = [];
  for (const name of entry.layers) {
    const blob = await requireFile(source, name);
    archived.push({ blob, mediaType: layerMediaType(blob.compression) });
  }
  const layers = await unpackLayers(unpacker, config, archived, what);
  const manifest = await putManifest(
    content,
    { digest: configBlob.digest, size: configBlob.sizeBytes },
    layers.map(({ digest, blobBytes, mediaType }) => ({ mediaType, digest, size: blobBytes })),
  );
  return { id: configBlob.digest, manifest, config, layers, names: entry.names };
}

async function requireFile(source: ArchiveSource, name: string): Promise<ArchiveBlob> {
  const blob = await source.blob(name);
  if (blob !== undefined) return blob;
  throw new TareError(
    'InvalidArgument',
    `${source.what}: manifest.json names ${JSON.stringify(name)}, which is missing`,
  );
}

/** Stores the manifest that a config and its layers make. The same parts give the same manifest. */
export async function putManifest(
  content: Pick<ContentStore, 'put'>,
  config: { digest: Digest; size: number },
  layers: readonly Descriptor[],
): Promise<Descriptor> {
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers,
  };
  const { digest, sizeBytes } = await content.put(Buffer.from(JSON.stringify(document)));
  return { mediaType: mediaTypes.manifest, digest, size: sizeBytes };
}
