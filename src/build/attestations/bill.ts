import type { LayerStore } from '../../storage/index.ts';
import type { ExportedForm, PartAttestation } from '../exporter.ts';
import type { Attestation } from '../frontend.ts';
import { emptyTree } from '../tree.ts';
import { CATALOGUE_KEY, CORE_NAME, SPDX_TYPE } from './scanner.ts';

/** Who lists packages by ourselves, and what of the tree that it lists. */
export interface BillParts {
  layers: LayerStore;
  toolVersion: string;
  platform: { os: string; architecture: string };
  signal: AbortSignal;
}

/** The tree's packages are to be listed by us. */
export const isCatalogued = ({ metadata }: Attestation): boolean => metadata[CATALOGUE_KEY] !== undefined;

/**
 * A bill of materials made of a tree's own files: the databases of dpkg, apk and rpm, and what applications say of themselves. Nothing
 * of the tree is run.
 */
export function billOf(
  { layers, toolVersion, platform, signal }: BillParts,
  attestation: Attestation,
): PartAttestation {
  const name = Buffer.from(attestation.metadata[CATALOGUE_KEY]!).toString('utf8');
  const read = once(async () => {
    const { catalogue } = await import('../../image/bom/index.ts');
    const tree = (await attestation.ref?.tree()) ?? emptyTree;
    using files = layers.visibleFiles(tree.layers);
    return { tree, found: await catalogue(files, { signal, hashesFiles: true }) };
  });
  return {
    path: attestation.path,
    isInlineOnly: false,
    predicateType: SPDX_TYPE,
    subjects: [],
    predicate: async ({ image: made, createdMs }: ExportedForm) => {
      const { tree, found } = await read();
      // Trees beside the result are in no image.
      const image = name === CORE_NAME ? made : undefined;
      const { LicenseList, spdxDocument } = await import('../../image/bom/index.ts');
      const known = new Map(image?.layers.map((layer) => [layer.name, layer]));
      const subject = {
        ...{ name: image?.name ?? name, os: platform.os, architecture: platform.architecture },
        ...(image === undefined ? {} : { digest: image.manifest, id: image.config }),
        layers: tree.layers.map((layer) => {
          const blob = known.get(layer);
          return blob && { diffID: blob.diffID, digest: blob.descriptor.digest };
        }),
      };
      const origin = { toolVersion, created: new Date(createdMs) };
      return spdxDocument(subject, found, origin, await LicenseList.load());
    },
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
