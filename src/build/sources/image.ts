import { parseImageConfig, type RepositoryReader } from '../../image/index.ts';
import { chainIDOf, type Descriptor, type Platform } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { FOREIGN_FORM, recordBlob } from '../cache/blob-records.ts';
import type { CacheMap, Operation, OperationContext } from '../operation.ts';
import { filled, goDigest, sourceDigest } from '../operations/go-json.ts';
import { layoutReader } from './layout-reader.ts';
import { type Attributes, pickSession, refuseUnknown } from './source-attributes.ts';

type ResolveMode = 'default' | 'pull' | 'local';

interface ImageQuestion {
  reference: string;
  mode: ResolveMode;
  platform: Platform;
  kind: 'image' | 'oci-layout';
  /** In place of registries. */
  source(context: OperationContext): Promise<RepositoryReader | undefined>;
}

/** An image of this engine or a registry. Its layers are fetched once a step needs them. */
export function imageSource(
  parts: BuilderParts,
  reference: string,
  attributes: Attributes,
  platform: Platform,
): Operation {
  refuseUnknown('image source', attributes, [
    ...['image.resolvemode', 'image.recordtype', 'image.layerlimit', 'image.checksum'],
  ]);
  const mode = resolveModeOf(attributes['image.resolvemode']);
  return operation(
    parts,
    { reference, mode, platform, kind: 'image', source: async () => undefined },
    attributes['image.recordtype'],
  );
}

/** An image of an OCI layout at the client. */
export function layoutSource(
  parts: BuilderParts,
  reference: string,
  attributes: Attributes,
  platform: Platform,
): Operation {
  refuseUnknown('oci-layout source', attributes, ['oci.session', 'oci.store', 'oci.layerlimit', 'image.checksum']);
  return operation(parts, {
    ...{ reference, platform, mode: 'pull', kind: 'oci-layout' },
    source: async (context) => {
      const session = await pickSession(context, attributes['oci.session']);
      return layoutReader(session.contentStore(attributes['oci.store'] ?? ''), reference);
    },
  });
}

function resolveModeOf(text: string | undefined): ResolveMode {
  if (text === 'pull' || text === 'local') return text;
  return 'default';
}

function operation(parts: BuilderParts, question: ImageQuestion, recordType?: string): Operation {
  const { reference, mode, platform, kind } = question;
  let resolved: { manifest: Descriptor; map: CacheMap } | undefined;
  const resolve = async (context: OperationContext) => {
    const source = await question.source(context);
    const { ref, indexOrManifest, manifest, config } = await parts.images.resolve(reference, {
      ...{ mode, platform, sessions: context.sessions(), signal: context.signal },
      ...(source === undefined ? {} : { source }),
    });
    const { rootfs } = parseImageConfig(config, reference);
    // Equal layers are an equal tree, whatever else the images say.
    // BuildKit knows an image by its manifest first, and looks at its layers only if nothing comes of that.
    const byManifest = sourceDigest(manifestKey(indexOrManifest, platform));
    const chainID = chainIDOf(rootfs.diff_ids);
    const digest = chainID === undefined ? byManifest : sourceDigest(chainID);
    const material = { kind, ref, digest: indexOrManifest, platform: platformID(platform) };
    const alternatives = digest === byManifest ? [] : [byManifest];
    return { manifest, map: { digest, alternatives, dependencies: [], material } };
  };
  return {
    recordType: recordType === 'internal' ? 'internal' : 'regular',
    description: `pulled from ${reference}`,
    cacheMap: async (context) => {
      const shown = `resolve ${reference}`;
      context.progress.status(shown, {});
      resolved = await resolve(context);
      context.progress.status(shown, { isDone: true });
      return resolved.map;
    },
    run: async (_inputs, context) => {
      const { manifest } = resolved ?? (await resolve(context));
      const source = await question.source(context);
      const { layers } = await parts.images.pull(reference, manifest, {
        ...{ platform, sessions: context.sessions(), signal: context.signal },
        ...(source === undefined ? {} : { source }),
        progress: (part, current, total) =>
          context.progress.status(part, { ...(total > 0 ? { current, total } : {}), isDone: current === total }),
      });
      for (const { diffID, descriptor } of layers) {
        if (await parts.content.has(descriptor.digest))
          await recordBlob(parts, diffID, FOREIGN_FORM, { diffID, descriptor });
      }
      return [{ layers: layers.map(({ diffID }) => diffID) }];
    },
  };
}

const manifestKey = (digest: string, { os, architecture, variant }: Platform): string =>
  goDigest({ Digest: digest, OS: os, Arch: architecture, ...filled({ Variant: variant }) });

export const platformID = ({ os, architecture, variant = '' }: Platform): string =>
  [os, architecture, variant].filter((part) => part !== '').join('/');
