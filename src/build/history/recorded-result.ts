import { create } from '@bufbuild/protobuf';
import { isIndexType, isManifestType, parseManifest } from '../../image/index.ts';
import { control } from '../../protocol/index.ts';
import type { BlobReader, Descriptor, Digest } from '../../storage/index.ts';
import type { BuildResult } from '../build-types.ts';

/** What a record says of a build's result, and the documents (not the layers) that it keeps for it. */
export interface RecordedResult {
  info: control.BuildResultInfo;
  documents: ReadonlySet<Digest>;
}

const images = new Set(['image', 'moby', 'oci', 'docker']);

/** Looks up what exporters said that they made, as far as it is stored here. */
export async function resultOf(
  content: BlobReader,
  exporters: readonly control.Exporter[],
  { exporterResponse }: BuildResult,
): Promise<RecordedResult> {
  const documents = new Set<Digest>();
  const info = create(control.BuildResultInfoSchema);
  const position = exporters.findIndex(({ Type }) => images.has(Type));
  const made = readDescriptor(exporterResponse['containerimage.descriptor']);
  if (position === -1 || made === undefined || !(await content.has(made.digest))) return { info, documents };
  await addDocuments(content, made, documents);
  const { mediaType, digest, size, annotations = {} } = made;
  const descriptor = create(control.DescriptorSchema, { mediaType, digest, size: BigInt(size), annotations });
  info.ResultDeprecated = descriptor;
  info.Results = { [String(position)]: descriptor };
  return { info, documents };
}

function readDescriptor(text: string | undefined): Descriptor | undefined {
  return text === undefined ? undefined : (JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as Descriptor);
}

/** Indexes, manifests, configs, statements. */
async function addDocuments(content: BlobReader, document: Descriptor, found: Set<Digest>): Promise<void> {
  const { digest, mediaType } = document;
  if (found.has(digest) || !(await content.has(digest))) return;
  found.add(digest);
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) return;
  const parsed = parseManifest(await content.read(digest), `document ${digest}`, mediaType);
  if (parsed.kind === 'index') {
    for (const manifest of parsed.manifests) await addDocuments(content, manifest, found);
    return;
  }
  found.add(parsed.config.digest);
  for (const layer of parsed.layers) if (layer.mediaType === 'application/vnd.in-toto+json') found.add(layer.digest);
}
