import { mediaTypes } from '../manifest.ts';

/** How the layers of a manifest are called. */
export type ManifestFormat = 'oci' | 'v2s2';

/** Compressions that media types can tell. */
export type LayerCompression = 'none' | 'gzip' | 'zstd';

/** What a layer's media type says. */
export interface LayerType {
  compression: LayerCompression;
  /** Not to be distributed: its bytes come from the descriptor's `urls`. */
  isForeign: boolean;
}

const types: [mediaType: string, LayerType & { format: ManifestFormat }][] = [
  [mediaTypes.layer, { format: 'oci', compression: 'none', isForeign: false }],
  [mediaTypes.layerGzip, { format: 'oci', compression: 'gzip', isForeign: false }],
  [mediaTypes.layerZstd, { format: 'oci', compression: 'zstd', isForeign: false }],
  ['application/vnd.oci.image.layer.nondistributable.v1.tar', { format: 'oci', compression: 'none', isForeign: true }],
  [
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    { format: 'oci', compression: 'gzip', isForeign: true },
  ],
  [
    'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
    { format: 'oci', compression: 'zstd', isForeign: true },
  ],
  [mediaTypes.dockerLayerGzip, { format: 'v2s2', compression: 'gzip', isForeign: false }],
  [mediaTypes.dockerLayer, { format: 'v2s2', compression: 'none', isForeign: false }],
  [
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    { format: 'v2s2', compression: 'gzip', isForeign: true },
  ],
  ['application/vnd.docker.image.rootfs.foreign.diff.tar', { format: 'v2s2', compression: 'none', isForeign: true }],
];
const byType = new Map(types);

/** What a media type says of a layer; undefined: it is none that can be converted. */
export const layerTypeOf = (mediaType: string): LayerType | undefined => byType.get(mediaType);

/** A layer's media type in a manifest of this format; undefined: docker's has none for zstd. */
export function layerTypeIn(format: ManifestFormat, { compression, isForeign }: LayerType): string | undefined {
  return types.find(
    ([, type]) => type.format === format && type.compression === compression && type.isForeign === isForeign,
  )?.[0];
}

export const formatOf = (manifestType: string): ManifestFormat =>
  manifestType === mediaTypes.dockerManifest || manifestType === mediaTypes.dockerIndex ? 'v2s2' : 'oci';

export const manifestTypeOf = (format: ManifestFormat): string =>
  format === 'oci' ? mediaTypes.manifest : mediaTypes.dockerManifest;

export const indexTypeOf = (format: ManifestFormat): string =>
  format === 'oci' ? mediaTypes.index : mediaTypes.dockerIndex;

export const configTypeOf = (format: ManifestFormat): string =>
  format === 'oci' ? mediaTypes.config : mediaTypes.dockerConfig;
