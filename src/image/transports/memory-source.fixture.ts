import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { TareError } from '../../errors/index.ts';
import {
  type Descriptor,
  type Digest,
  digestOf,
  encodeFile,
  endOfArchive,
  type Platform,
} from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import type { BlobRange, ImageDocument, ImageSource } from './image-source.ts';

/** A tar of plain files. */
export const tarOf = (files: Record<string, string | Uint8Array>): Buffer =>
  Buffer.concat([...Object.entries(files).map(([name, bytes]) => encodeFile(name, bytes)), endOfArchive()]);

/** Bytes that look random and are the same each time. */
export function noise(seed: string, sizeBytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < sizeBytes; at += 32) parts.push(createHash('sha256').update(`${seed} ${at}`).digest());
  return Buffer.concat(parts).subarray(0, sizeBytes);
}

export type Packing = 'none' | 'gzip' | 'zstd';

const pack: Record<Packing, (bytes: Buffer) => Buffer> = {
  none: (bytes) => bytes,
  gzip: (bytes) => gzipSync(bytes),
  zstd: (bytes) => zstdCompressSync(bytes),
};
const layerTypes: Record<Packing, string> = {
  none: mediaTypes.layer,
  gzip: mediaTypes.layerGzip,
  zstd: mediaTypes.layerZstd,
};

/** An image source in memory, made of documents and blobs that tests build, and may spoil. */
export class MemorySource implements ImageSource {
  what = 'memory';
  readonly blobs = new Map<string, Buffer>();
  readonly documents = new Map<string, ImageDocument>();
  readonly tags = new Map<string, ImageDocument>();
  readonly attached: { subject: Digest; descriptor: Descriptor }[] = [];
  readonly signatureOf = new Map<Digest | 'root', Buffer[]>();
  /** Digests that were read, in order. */
  readonly asked: string[] = [];
  rootDocument: ImageDocument | undefined;

  addBlob(bytes: Buffer, mediaType: string, more: Partial<Descriptor> = {}): Descriptor {
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength, ...more };
    this.blobs.set(descriptor.digest, bytes);
    return descriptor;
  }

  addDocument(document: object, mediaType: string): Descriptor {
    const bytes = Buffer.from(JSON.stringify(document));
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
    this.documents.set(descriptor.digest, { descriptor, bytes });
    this.rootDocument = { descriptor, bytes };
    return descriptor;
  }

  /** An image of these tars; the root from now on. */
  addImage(
    tars: readonly Buffer[],
    options: { packing?: Packing; docker?: boolean; platform?: Platform; manifest?: object; config?: object } = {},
  ): Descriptor {
    const { packing = 'gzip', docker = false, platform = { architecture: 'amd64', os: 'linux' } } = options;
    const config = {
      ...platform,
      created: '2026-01-02T03:04:05Z',
      config: { Env: ['A=b'], Labels: { is: 'test' } },
      rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
      history: tars.map((_, index) => ({ created_by: `layer ${index}` })),
      ...options.config,
    };
    const types = docker
      ? { none: mediaTypes.dockerLayer, gzip: mediaTypes.dockerLayerGzip, zstd: mediaTypes.layerZstd }
      : layerTypes;
    const manifest = {
      schemaVersion: 2,
      mediaType: docker ? mediaTypes.dockerManifest : mediaTypes.manifest,
      config: this.addBlob(Buffer.from(JSON.stringify(config)), docker ? mediaTypes.dockerConfig : mediaTypes.config),
      layers: tars.map((tar) => this.addBlob(pack[packing](tar), types[packing])),
      ...options.manifest,
    };
    return this.addDocument(manifest, manifest.mediaType);
  }

  addIndex(manifests: readonly Descriptor[], mediaType: string = mediaTypes.index, more: object = {}): Descriptor {
    return this.addDocument({ schemaVersion: 2, mediaType, manifests, ...more }, mediaType);
  }

  /** A signature, a bill of materials, a chart: no image. */
  addArtifact(text: string, more: object = {}): Descriptor {
    return this.addDocument(
      {
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        artifactType: 'application/vnd.example.thing',
        config: this.addBlob(Buffer.from('{}'), 'application/vnd.oci.empty.v1+json'),
        layers: [this.addBlob(Buffer.from(text), 'text/plain')],
        ...more,
      },
      mediaTypes.manifest,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async root(): Promise<ImageDocument> {
    return this.rootDocument!;
  }

  async manifest({ digest }: Descriptor): Promise<ImageDocument> {
    const document = this.documents.get(digest);
    if (document === undefined) throw new TareError('NotFound', `manifest ${digest} is missing`);
    return document;
  }

  async *blob({ digest }: Descriptor, { offset = 0 }: BlobRange = {}): AsyncGenerator<Uint8Array> {
    this.asked.push(digest);
    const bytes = this.blobs.get(digest);
    if (bytes === undefined) throw new TareError('NotFound', `blob ${digest} is missing`);
    for (let at = offset; at < bytes.byteLength; at += 10_007) yield bytes.subarray(at, at + 10_007);
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    return this.attached.filter(({ subject }) => subject === digest).map(({ descriptor }) => descriptor);
  }

  async tagged(tag: string): Promise<ImageDocument | undefined> {
    return this.tags.get(tag);
  }

  async signatures(instance?: Digest): Promise<Buffer[]> {
    return this.signatureOf.get(instance ?? 'root') ?? [];
  }
}
