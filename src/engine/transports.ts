import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { kindOf, TareError } from '../errors/index.ts';
import {
  type CopyOptions,
  type CopyResult,
  copyImage,
  type ImageDestination,
  type ImageSource,
  openDestination,
  openSource,
  parseReference,
  parseTransport,
  type Reference,
  type Registries,
  type TransportName,
  type TransportParts,
  withDefaultTag,
} from '../image/index.ts';
import type { EngineConfig } from './config.ts';
import { Engine } from './engine.ts';
import { openConfiguredRegistries, type RegistryAccess } from './registries.ts';
import type { CopyOrigin, LocalChoice, LocalDestinationOptions } from './types.ts';

/** An image to copy, and where to. */
export interface CopyRequest {
  /** `TRANSPORT:DETAILS`, see `parseTransport`. */
  source: string;
  destination: string;
  sourceAccess?: RegistryAccess;
  destinationAccess?: RegistryAccess;
  /** More names that a docker archive gives its image. */
  additionalTags?: readonly string[];
  /** How often a copy is tried again that failed for a reason that may pass. */
  retries?: number;
  options?: CopyOptions;
}

const RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;

/**
 * Everything that images can be read from and written to, each opened when a name calls for it: for what only touches
 * registries and files, no engine is opened.
 */
export class Transports implements AsyncDisposable {
  readonly #config: EngineConfig;
  readonly #registries = new Map<string, Registries & Disposable>();
  #engine: Promise<Engine> | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const registries of this.#registries.values()) registries[Symbol.dispose]();
    await (await this.#engine)?.[Symbol.asyncDispose]();
  }

  /** Registries as configured, with what a command says of them. */
  registries(access: RegistryAccess = {}): Registries {
    const { credentials: _, ...ways } = access;
    const key = JSON.stringify(ways);
    const open = this.#registries.get(key) ?? openConfiguredRegistries(this.#config, ways);
    this.#registries.set(key, open);
    return open;
  }

  /** @param signal ends what is asked of a registry */
  source(
    text: string,
    access: RegistryAccess = {},
    choice: LocalChoice = {},
    signal?: AbortSignal,
  ): Promise<ImageSource> {
    return openSource(parseTransport(text), { ...this.#parts(access, choice), signal });
  }

  destination(
    text: string,
    access: RegistryAccess = {},
    { additionalTags = [], ...local }: LocalDestinationOptions & { additionalTags?: readonly string[] } = {},
    signal?: AbortSignal,
  ): Promise<ImageDestination> {
    const tags = additionalTags.map(parseAdditionalTag);
    return openDestination(parseTransport(text), { ...this.#parts(access, {}, local), signal }, tags);
  }

  /**
   * Copies an image from anywhere to anywhere. The destination is not touched before the source is known to be there.
   * @throws {TareError} see `copyImage`
   */
  async copy(request: CopyRequest): Promise<CopyResult> {
    // What is wrong with the words is told before anything is asked.
    parseTransport(request.source);
    parseTransport(request.destination);
    (request.additionalTags ?? []).map(parseAdditionalTag);
    for (let left = request.retries ?? 0, waitMs = RETRY_MS; ; left -= 1, waitMs = Math.min(2 * waitMs, MAX_RETRY_MS)) {
      try {
        return await this.#copyOnce(request);
      } catch (error) {
        request.options?.signal?.throwIfAborted();
        if (left <= 0 || kindOf(error) !== 'Unavailable') throw error;
        await pause(waitMs, request.options?.signal);
      }
    }
  }

  async #copyOnce({ options = {}, ...request }: CopyRequest): Promise<CopyResult> {
    const all = options.instances !== undefined && options.instances !== 'system';
    const { platform, signal } = options;
    await using source = await this.source(request.source, request.sourceAccess, { all, platform }, signal);
    await source.root();
    const { additionalTags = [], destinationAccess } = request;
    const origin = originOf(parseTransport(request.source), source);
    const local = { all, origin, additionalTags };
    await using destination = await this.destination(request.destination, destinationAccess, local, signal);
    return await copyImage(source, destination, options);
  }

  #parts(access: RegistryAccess, choice: LocalChoice, destination: LocalDestinationOptions = {}): TransportParts {
    return {
      registries: async () => this.registries(access),
      credentials: access.credentials,
      localSource: async (name) => (await this.#open()).images.openSource(name, choice),
      localDestination: async (name) => (await this.#open()).images.openDestination(name, destination),
    };
  }

  #open(): Promise<Engine> {
    this.#engine ??= Engine.open(this.#config);
    return this.#engine;
  }
}

/** Where a source lies, in the words of policy.json. */
function originOf(name: TransportName, source: ImageSource): CopyOrigin | undefined {
  if (name.transport === 'local') return undefined;
  if (name.transport === 'docker') {
    return { transport: 'docker', reference: name.reference, reader: source.reader! };
  }
  const path = resolve(name.path);
  const isNamed = name.transport === 'oci' || name.transport === 'oci-archive';
  return { transport: name.transport, path: isNamed && name.name !== undefined ? `${path}:${name.name}` : path };
}

function parseAdditionalTag(text: string): Reference {
  const reference = withDefaultTag(parseReference(text));
  if (reference.digest === undefined) return reference;
  throw new TareError('InvalidArgument', `additional tag ${JSON.stringify(text)}: want NAME:TAG, without a digest`);
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await setTimeout(ms, undefined, signal === undefined ? {} : { signal });
}
