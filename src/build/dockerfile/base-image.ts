import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import {
  canonical,
  formatPlatform,
  parseReference,
  type Reference,
  withDefaultTag,
  withSuggestion,
} from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';
import type { FrontendBridge, ImageConfigAnswer } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { emptyImage, type ImageDocument, readImage } from './image-document.ts';
import { type NamedContexts, withDigest } from './named-context.ts';
import type { FrontendOptions } from './options.ts';
import { operationPlatform } from './platforms.ts';
import type { StageBuild } from './stage.ts';
import { stepName } from './step-name.ts';

const commonImages = ['alpine', 'busybox', 'centos', 'debian', 'golang', 'ubuntu', 'fedora'];

/** Finds the images that stages begin with. */
export class BaseImages {
  readonly #bridge: FrontendBridge;
  readonly #options: FrontendOptions;
  readonly #contexts: NamedContexts;
  readonly #answers: Map<string, Promise<ImageConfigAnswer>>;

  /** @param answers of what was asked in this build */
  constructor(
    bridge: FrontendBridge,
    options: FrontendOptions,
    contexts: NamedContexts,
    answers: Map<string, Promise<ImageConfigAnswer>>,
  ) {
    this.#bridge = bridge;
    this.#options = options;
    this.#contexts = contexts;
    this.#answers = answers;
  }

  /** Puts a stage where its base image ends. @throws {TareError} NotFound … naming the image */
  async begin(
    stage: StageBuild,
    place: { target: Platform; stageNames: readonly string[]; source: llb.SourceMap },
  ): Promise<void> {
    const platform = stage.platform ?? place.target;
    stage.platform = platform;
    stage.isResolved = true;
    // Nothing is converted of what is no stage of the file.
    if (stage.written === undefined) stage.isDone = true;
    if (stage.baseName === 'scratch') {
      stage.image = emptyImage(place.target);
      stage.platform = place.target;
      return;
    }
    const written = stage.baseName;
    const reference = this.#reference(written);
    const usedPaths = () => pathsTaken(stage.usedPaths);
    const context = await this.#contexts.find(written, { platform, usedPaths });
    if (context !== undefined) {
      stage.tree = context.tree;
      stage.image = context.image ?? emptyImage(place.target);
      return;
    }
    const answer = await this.#ask(written, reference, platform, place.stageNames);
    const document = readImage(answer.config, `config of image ${canonical(reference)}`);
    stage.baseImage = structuredClone(document);
    delete document.created;
    stage.image = document;
    const resolved = withDigest(withDefaultTag(parseReference(answer.ref)), answer.digest);
    const name = stepName(stage, `FROM ${canonical(resolved)}`, this.#options.isMultiPlatform, platform);
    stage.tree = isEmpty(document)
      ? undefined
      : llb.image(
          canonical(resolved),
          { platform: operationPlatform(platform), resolveMode: this.#options.resolveMode },
          { name, command: stage.original, location: { source: place.source, ranges: stage.ranges } },
        );
  }

  #reference(text: string): Reference {
    try {
      return withDefaultTag(parseReference(text));
    } catch (error) {
      throw new TareError(
        'InvalidArgument',
        `failed to parse stage name ${JSON.stringify(text)}: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  async #ask(written: string, reference: Reference, platform: Platform, stageNames: readonly string[]) {
    const text = canonical(reference);
    const key = `${text} ${formatPlatform(platform)}`;
    const prefix = this.#options.isMultiPlatform ? `[${formatPlatform(platform)} internal]` : '[internal]';
    const answer =
      this.#answers.get(key) ??
      this.#bridge.resolveImageConfig(text, {
        resolveMode: this.#options.resolveMode,
        platform: operationPlatform(platform),
        logName: `${prefix} load metadata for ${text}`,
      });
    this.#answers.set(key, answer);
    try {
      return await answer;
    } catch (error) {
      if (kindOf(error) === 'Internal') throw error;
      const message = withSuggestion(`${written}: ${messageOf(error)}`, written, [...stageNames, ...commonImages]);
      throw new TareError(kindOf(error), message, { cause: error });
    }
  }
}

/** Old images do not tell their layers, but their history does. */
const isEmpty = ({ rootfs, history }: ImageDocument): boolean =>
  rootfs.diff_ids.length === 0 && history.every((entry) => entry.empty_layer === true);

/** Paths as a client is asked for them; none when all is wanted. */
export function pathsTaken(paths: ReadonlySet<string>): string[] {
  if (paths.has('/')) return [];
  return [...paths].map((path) => path.replace(/^\/+/, '')).sort((a, b) => (a < b ? -1 : 1));
}
