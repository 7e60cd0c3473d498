export { type CopyOptions, type CopyProgress, type CopyResult, copyImage } from './copy.ts';
export { chooseInstance } from './copy-plan.ts';
export { verified } from './hashed-bytes.ts';
export type { DestinationRules, ImageDestination, ManifestRole, PutBlobOptions } from './image-destination.ts';
export { type BlobRange, checkedDocument, type ImageDocument, type ImageSource } from './image-source.ts';
export { layoutEntryNamed, nameInLayout } from './layout-names.ts';
export { openDestination, openSource, type TransportParts } from './open-transport.ts';
export { formatTransport, parseTransport, type TransportName } from './transport-name.ts';
