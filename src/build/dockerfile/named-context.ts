import { TareError } from '../../errors/index.ts';
import {
  canonical,
  familiar,
  formatPlatform,
  normalized,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../../image/index.ts';
import type { Digest, Platform } from '../../storage/index.ts';
import type { FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { withoutPasswords } from '../without-passwords.ts';
import { type BuildContext, ignoreFileOf, readIgnorePatterns } from './build-context.ts';
import { gitOutput, parseGitAddress } from './git-address.ts';
import { type ImageDocument, readImage } from './image-document.ts';
import type { FrontendOptions } from './options.ts';
import { operationPlatform } from './platforms.ts';

/** What stands for a stage or an image of a Dockerfile, because the client says so. */
export interface NamedContext {
  tree: llb.Output | undefined;
  /** Undefined: files alone. */
  image: ImageDocument | undefined;
}

export interface NamedContextQuestion {
  platform: Platform;
  /** What is taken of a client's folder; asked when the graph is whole. Empty: all. */
  usedPaths: () => readonly string[];
}

const invalid = (message: string, cause?: unknown) =>
  new TareError('InvalidArgument', message, cause === undefined ? {} : { cause });

/** What `context:NAME` says of a name. */
export class NamedContexts {
  readonly #bridge: FrontendBridge;
  readonly #options: FrontendOptions;
  readonly #main: BuildContext;
  readonly #isAnyNamed: boolean;

  /** Trees of clients' folders, which are known when all that is taken of them is. */
  readonly #later: (() => void)[] = [];

  constructor(bridge: FrontendBridge, options: FrontendOptions, main: BuildContext) {
    this.#bridge = bridge;
    this.#options = options;
    this.#main = main;
    this.#isAnyNamed = Object.keys(bridge.options).some((key) => key.startsWith('context:'));
  }

  /** @returns undefined: the client names nothing so @throws {TareError} InvalidArgument: the option; NotFound: the image … */
  async find(name: string, question: NamedContextQuestion): Promise<NamedContext | undefined> {
    if (!this.#isAnyNamed || ['scratch', 'context'].includes(name.toLowerCase())) return undefined;
    let short: string;
    try {
      short = familiar(parseReference(name)).replace(/:latest$/, '');
    } catch {
      // A stage may have a name that no context can have.
      return undefined;
    }
    const withPlatform = `${short}::${formatPlatform(normalized(question.platform))}`;
    for (const key of [withPlatform, short]) {
      const value = this.#bridge.options[`context:${key}`];
      if (value !== undefined) return this.#load(short, key, value, question);
    }
    return undefined;
  }

  /** All that is taken of clients' folders is known now. */
  settle(): void {
    for (const set of this.#later.splice(0)) set();
  }

  async #load(name: string, key: string, value: string, question: NamedContextQuestion): Promise<NamedContext> {
    const [, type, rest] = /^([^:]*):(.*)$/s.exec(value) ?? [];
    if (type === undefined || rest === undefined) {
      throw invalid(
        `invalid context specifier ${withoutPasswords(value)} for ${key}: want docker-image://IMAGE, an address, local:NAME …`,
      );
    }
    if (type.startsWith('git@') || type === 'git' || type === 'ssh') return this.#repository(value, key);
    switch (type) {
      case 'docker-image':
        return this.#image(rest.replace(/^\/\//, ''), key, question);
      case 'oci-layout':
        return this.#layout(rest.replace(/^\/\//, ''), name, key, question);
      case 'http':
      case 'https':
        if (parseGitAddress(value) !== undefined) return this.#repository(value, key);
        return {
          tree: llb.http(value, { filename: 'context' }, { name: `[context ${key}] ${withoutPasswords(value)}` }),
          image: undefined,
        };
      case 'local':
        return this.#folder(rest, key, question);
      case 'input':
      case 'target':
        return this.#input(rest, key);
      default:
        throw invalid(
          `unsupported context source ${type} for ${key}: want docker-image, oci-layout, git, http, https, local, input or target`,
        );
    }
  }

  #repository(value: string, key: string): NamedContext {
    const address = parseGitAddress(value);
    const shown = withoutPasswords(value);
    if (address === undefined) throw invalid(`invalid git context ${shown} for ${key}`);
    const tree = gitOutput(address, address.keepsGitDirectory === true, { name: `[context ${key}] ${shown}` });
    return { tree, image: undefined };
  }

  async #image(text: string, key: string, { platform }: NamedContextQuestion): Promise<NamedContext> {
    if (text === 'scratch') return { tree: undefined, image: undefined };
    const reference = withDefaultTag(referenceOf(text, key));
    const { resolveMode } = this.#options;
    const answer = await this.#bridge.resolveImageConfig(canonical(reference), {
      resolveMode,
      platform: operationPlatform(platform),
      logName: `[context ${key}] load metadata for ${text}`,
    });
    const resolved = withDigest(parseReference(answer.ref), answer.digest);
    const tree = llb.image(
      canonical(resolved),
      { platform: operationPlatform(platform), resolveMode },
      { name: `[context ${key}] ${canonical(resolved)}` },
    );
    return { tree, image: withoutTime(readImage(answer.config, `config of image ${text}`)) };
  }

  async #layout(text: string, name: string, key: string, { platform }: NamedContextQuestion): Promise<NamedContext> {
    const [, store, digest] = /^([^@:]+(?::\d+\/[^@:]*)?)(?::[^@]*)?@(sha256:[0-9a-f]{64})$/.exec(text) ?? [];
    if (store === undefined || digest === undefined) {
      throw invalid(`could not parse oci-layout reference ${JSON.stringify(text)} for ${key}: want NAME@sha256:DIGEST`);
    }
    const reference = canonical(withDigest(referenceOf(name, key), digest));
    const sessionID = this.#bridge.sessionID;
    const answer = await this.#bridge.resolveImageConfig(reference, {
      resolveMode: this.#options.resolveMode,
      platform: operationPlatform(platform),
      logName: `[context ${key}] load metadata for ${reference}`,
      store: { sessionID, storeID: store },
    });
    const tree = llb.ociLayout(
      reference,
      { sessionID, storeID: store, platform: operationPlatform(platform) },
      { name: `[context ${key}] OCI load from client` },
    );
    return { tree, image: withoutTime(readImage(answer.config, `config of image ${key}`)) };
  }

  async #folder(localName: string, key: string, { usedPaths }: NamedContextQuestion): Promise<NamedContext> {
    const sessionID = this.#main.sessionOf(localName);
    const ignoreFile = ignoreFileOf(localName, sessionID, `context:${key}`, `[context ${key}]`);
    const excludePatterns = await readIgnorePatterns(this.#bridge, ignoreFile, this.#options);
    const sharedKey = this.#bridge.options[`sharedkey:localdir:${key}`] ?? '';
    const tree = new llb.LaterOutput();
    this.#later.push(() =>
      tree.set(
        llb.local(
          localName,
          { sessionID, excludePatterns, followPaths: usedPaths(), sharedKeyHint: `context:${key}-${sharedKey}` },
          { name: `[context ${key}] load from client` },
        ),
      ),
    );
    return { tree, image: undefined };
  }

  #input(name: string, key: string): NamedContext {
    const definition = this.#bridge.inputs.get(name);
    if (definition === undefined) throw invalid(`invalid input ${name} for ${key}: no input has this name`);
    return { tree: llb.outputOf(definition), image: this.#inputImage(name, key) };
  }

  #inputImage(name: string, key: string): ImageDocument | undefined {
    const text = this.#bridge.options[`input-metadata:${name}`];
    if (text === undefined) return undefined;
    let config: unknown;
    try {
      config = (JSON.parse(text) as Record<string, unknown> | null)?.['containerimage.config'];
    } catch (error) {
      throw invalid(`failed to parse input metadata ${name} for ${key}: it is no JSON`, error);
    }
    if (typeof config !== 'string') return undefined;
    return readImage(Buffer.from(config, 'base64'), `image config for ${key}`);
  }
}

function referenceOf(text: string, key: string): Reference {
  try {
    return parseReference(text);
  } catch (error) {
    throw invalid(`context ${key}: ${JSON.stringify(text)}: ${(error as Error).message}`, error);
  }
}

/** The tag says nothing beside a digest, but it stays for readers. */
export const withDigest = (reference: Reference, digest: string): Reference => ({
  ...reference,
  digest: digest as Digest,
});

function withoutTime(image: ImageDocument): ImageDocument {
  delete image.created;
  return image;
}
