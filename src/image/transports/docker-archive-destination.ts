import { statSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, hexOf } from '../../storage/index.ts';
import { mediaTypes, parseManifest } from '../manifest.ts';
import { familiar, type Reference } from '../reference.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { ArchiveBlobs } from './archive-blobs.ts';
import {
  type DestinationRules,
  type ImageDestination,
  type ManifestRole,
  noSignatures,
  type PutBlobOptions,
} from './image-destination.ts';
import { TarWriter } from './tar-writer.ts';

/** docker's archive of one image, as `docker load` takes it: uncompressed layers, a config, `manifest.json`. */
export class DockerArchiveDestination implements ImageDestination {
  readonly what: string;
  readonly reference: Reference | undefined;
  readonly rules: DestinationRules = {
    manifestTypes: [mediaTypes.dockerManifest],
    indexes: false,
    artifacts: false,
    layers: 'decompress',
    foreignLayers: false,
    signatures: false,
    referrers: false,
  };
  readonly #tar: TarWriter;
  readonly #blobs: ArchiveBlobs;
  readonly #names: readonly Reference[];
  #root: Buffer | undefined;

  private constructor(tar: TarWriter, names: readonly Reference[], what: string) {
    this.what = what;
    this.reference = names[0];
    this.#tar = tar;
    this.#blobs = new ArchiveBlobs(tar);
    this.#names = names;
  }

  /** @throws {TareError} AlreadyExists: such archives are not added to */
  static async open(path: string, names: readonly Reference[], what: string): Promise<DockerArchiveDestination> {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0) {
      throw new TareError('AlreadyExists', `${what}: the file exists, and docker archives are not added to: remove it`);
    }
    return new DockerArchiveDestination(await TarWriter.open(path, what), names, what);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#tar[Symbol.asyncDispose]();
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return this.#blobs.has(digest);
  }

  putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}): Promise<'existed' | 'stored'> {
    return this.#blobs.put(fileOf(descriptor), descriptor, bytes, options);
  }

  async putManifest(_mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    if (role !== 'root') throw new TareError('Unsupported', `${this.what} holds single images only`);
    this.#root = bytes;
  }

  async putSignatures(): Promise<void> {
    noSignatures(this.what);
  }

  async commit(): Promise<void> {
    if (this.#root === undefined) throw new TareError('Internal', `${this.what}: no manifest was written`);
    const manifest = parseManifest(this.#root, `${this.what}: manifest`);
    if (manifest.kind !== 'manifest') throw new TareError('Unsupported', `${this.what} holds single images only`);
    const entry = {
      Config: fileOf(manifest.config),
      RepoTags: this.#names.length === 0 ? null : this.#names.map(familiar),
      Layers: manifest.layers.map(fileOf),
    };
    await this.#tar.put('manifest.json', Buffer.from(JSON.stringify([entry])));
    await this.#tar.put('repositories', Buffer.from(JSON.stringify(this.#repositories(manifest.layers))));
    this.#blobs.requireWhole();
    await this.#tar.commit();
  }

  /** What docker before 1.10 read, and skopeo still wants to see. */
  #repositories(layers: readonly Descriptor[]): Record<string, Record<string, string>> {
    const top = layers.at(-1);
    const repositories: Record<string, Record<string, string>> = {};
    for (const name of this.#names) {
      const text = familiar(name);
      const repository = text.slice(0, text.lastIndexOf(':'));
      repositories[repository] = {
        ...repositories[repository],
        [name.tag!]: top === undefined ? '' : hexOf(top.digest),
      };
    }
    return repositories;
  }
}

const isConfig = (mediaType: string): boolean =>
  mediaType === mediaTypes.dockerConfig || mediaType === mediaTypes.config;

/** `HEX.json` for the config, `HEX.tar` for a layer. */
const fileOf = ({ digest, mediaType }: { digest: Digest; mediaType: string }): string =>
  `${hexOf(digest)}.${isConfig(mediaType) ? 'json' : 'tar'}`;
