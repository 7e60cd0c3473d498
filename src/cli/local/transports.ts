import {
  type CopyOptions,
  type CopyResult,
  canonical,
  inspectSource,
  nameOf,
  parseManifest,
  parsePlatform,
  parseReference,
  parseTransport,
  planSync,
  type SyncRequest,
  type SyncStep,
  Transports,
} from '../../engine/index.ts';
import { kindOf, TareError } from '../../errors/index.ts';
import type { GlobalValues } from '../command.ts';
import type { Access } from '../transport-options.ts';
import { configFrom } from './open-engine.ts';

/** A copy as a command line asks for it. */
export interface CopyCommand {
  source: string;
  destination: string;
  sourceAccess: Access;
  destinationAccess: Access;
  additionalTags?: string[];
  retries: number;
  /** `os[/arch[/variant]]` */
  platform?: string | undefined;
  options: Omit<CopyOptions, 'platform'>;
}

export async function copyHere(globals: GlobalValues, copy: CopyCommand): Promise<CopyResult> {
  await using transports = new Transports(configFrom(globals));
  return await copyWith(transports, copy);
}

async function copyWith(transports: Transports, { platform, options, ...request }: CopyCommand): Promise<CopyResult> {
  return await transports.copy({
    ...request,
    options: { ...options, ...(platform === undefined ? {} : { platform: parsePlatform(platform) }) },
  });
}

/** What `image inspect` shows of an image that is elsewhere. */
export interface InspectedTransport {
  /** The document that the name stands for, as it is. */
  raw: Buffer;
  /** Lazily: an index need not have an image for this platform. */
  config(): Promise<Buffer>;
  summary(withTags: boolean): Promise<TransportSummary>;
}

/** skopeo's summary, in its spelling. */
export interface TransportSummary {
  Name?: string;
  Tag?: string;
  Digest: string;
  RepoTags: string[];
  Created: string | null;
  DockerVersion: string;
  Labels: Record<string, string> | null;
  Architecture: string;
  Variant?: string;
  Os: string;
  Layers: string[];
  LayersData: { MIMEType: string; Digest: string; Size: number; Annotations: Record<string, string> | null }[];
  Env: string[] | null;
  Author?: string;
}

/** Looks at an image wherever it lies, and gives it to `use`. */
export async function inspectHere<T>(
  globals: GlobalValues,
  text: string,
  access: Access,
  platform: string | undefined,
  use: (inspected: InspectedTransport) => Promise<T>,
): Promise<T> {
  await using transports = new Transports(configFrom(globals));
  const wanted = platform === undefined ? undefined : parsePlatform(platform);
  await using source = await transports.source(text, access, { platform: wanted });
  const root = await source.root();
  return await use({
    raw: root.bytes,
    config: async () => (await inspectSource(source, wanted)).config,
    summary: async (withTags) => {
      const { manifest, config, image } = await inspectSource(source, wanted);
      const { layers } = manifest.parsed;
      const name = nameOf(source);
      const document = image === undefined ? {} : (JSON.parse(config.toString('utf8')) as { docker_version?: string });
      return {
        ...(name === undefined ? {} : { Name: name }),
        Digest: root.descriptor.digest,
        RepoTags: withTags && text.startsWith('docker://') ? await tagsWith(transports, text.slice(9), access) : [],
        Created: image?.created ?? null,
        DockerVersion: document.docker_version ?? '',
        Labels: image?.config?.Labels ?? null,
        Architecture: image?.architecture ?? '',
        ...(image?.variant === undefined ? {} : { Variant: image.variant }),
        Os: image?.os ?? '',
        Layers: layers.map(({ digest }) => digest),
        LayersData: layers.map(({ mediaType, digest, size, annotations }) => ({
          ...{ MIMEType: mediaType, Digest: digest, Size: size },
          Annotations: annotations ?? null,
        })),
        Env: image?.config?.Env ?? null,
        ...(image?.author === undefined ? {} : { Author: image.author }),
      };
    },
  });
}

/** All tags of a repository. */
export async function tagsHere(
  globals: GlobalValues,
  text: string,
  access: Access,
): Promise<{ repository: string; tags: string[] }> {
  await using transports = new Transports(configFrom(globals));
  const repository = requireDocker(text);
  const { domain, path } = parseReference(repository);
  return { repository: `${domain}/${path}`, tags: await tagsWith(transports, repository, access) };
}

async function tagsWith(transports: Transports, text: string, access: Access): Promise<string[]> {
  const registries = transports.registries(access);
  return await Array.fromAsync(registries.repository(parseReference(text), access.credentials).tags());
}

/** Deletes what a name in a registry stands for. @returns its digest */
export async function deleteHere(globals: GlobalValues, text: string, access: Access): Promise<string> {
  requireDocker(text);
  const name = parseTransport(text);
  if (name.transport !== 'docker') throw new TareError('Internal', `${text} is not in a registry`);
  await using transports = new Transports(configFrom(globals));
  const registries = transports.registries(access);
  const repository = registries.repository(name.reference, access.credentials);
  const { tag, digest } = name.reference;
  // Registries delete by digest, so every tag of this manifest goes with it, as with skopeo.
  const named = digest ?? (await repository.resolve({ tag: tag! })).digest;
  await repository.deleteManifest({ digest: named });
  return named;
}

function requireDocker(text: string): string {
  if (text.startsWith('docker://')) return text.slice('docker://'.length);
  throw new TareError('InvalidArgument', `${JSON.stringify(text)}: want docker://REPOSITORY`);
}

/** A sync as a command line asks for it. */
export interface SyncCommand extends SyncRequest {
  isDryRun: boolean;
  keepsGoing: boolean;
  retries: number;
  options: Omit<CopyOptions, 'platform'>;
  onStep(step: SyncStep, position: number, count: number): void;
  onCopied(step: SyncStep, result: CopyResult): void;
  onProblem(error: unknown): void;
}

/** @returns how many images were copied, and how many could not be */
export async function syncHere(globals: GlobalValues, sync: SyncCommand): Promise<{ copied: number; failed: number }> {
  await using transports = new Transports(configFrom(globals));
  const { steps, problems } = await planSync(transports, sync);
  for (const problem of problems) {
    if (!sync.keepsGoing) throw problem;
    sync.onProblem(problem);
  }
  let copied = 0;
  let failed = problems.length;
  for (const [position, step] of steps.entries()) {
    sync.onStep(step, position + 1, steps.length);
    if (sync.isDryRun) continue;
    try {
      const result = await copyWith(transports, {
        ...{ source: step.source, destination: step.destination },
        sourceAccess: step.sourceAccess,
        destinationAccess: sync.destinationAccess ?? {},
        retries: sync.retries,
        options: sync.options,
      });
      sync.onCopied(step, result);
      copied += 1;
    } catch (error) {
      if (!sync.keepsGoing) throw error;
      sync.onProblem(error);
      failed += 1;
    }
  }
  return { copied, failed };
}

/** What docker's `manifest inspect` prints of one manifest. */
export interface ManifestView {
  reference: string;
  descriptor: { mediaType: string; digest: string; size: number; platform?: object };
  raw: Buffer;
  isIndex: boolean;
  /** Of an index. */
  manifests: ManifestView[];
}

export async function manifestHere(
  globals: GlobalValues,
  name: string,
  access: Access,
  isVerbose: boolean,
): Promise<ManifestView> {
  await using transports = new Transports(configFrom(globals));
  await using source = await transports.source(`docker://${name}`, access);
  const root = await source.root();
  const parsed = parseManifest(root.bytes, name, root.descriptor.mediaType);
  const reference = canonical(source.reference!);
  const { mediaType, digest, size } = root.descriptor;
  const view: ManifestView = {
    ...{ reference, raw: root.bytes, isIndex: parsed.kind === 'index', manifests: [] },
    descriptor: { mediaType, digest, size },
  };
  if (!isVerbose) return view;
  if (parsed.kind === 'manifest') {
    const { image } = await inspectSource(source);
    const { architecture, os, variant } = image ?? {};
    if (image !== undefined) {
      view.descriptor.platform = { architecture, os, ...(variant === undefined ? {} : { variant }) };
    }
    return view;
  }
  for (const entry of parsed.manifests) {
    const { bytes } = await source.manifest(entry);
    view.manifests.push({
      reference: `${reference}@${entry.digest}`,
      descriptor: {
        ...{ mediaType: entry.mediaType, digest: entry.digest, size: entry.size },
        ...(entry.platform === undefined ? {} : { platform: entry.platform }),
      },
      raw: bytes,
      isIndex: false,
      manifests: [],
    });
  }
  return view;
}

/** Tries again, so many times, what failed for a reason that may pass. */
export async function withRetries<T>(times: number, work: () => Promise<T>): Promise<T> {
  for (let left = times; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (left <= 0 || kindOf(error) !== 'Unavailable') throw error;
    }
  }
}
