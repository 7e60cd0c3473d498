import { create, fromBinary } from '@bufbuild/protobuf';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { formatPlatform } from '../../image/index.ts';
import { OpSchema, SourceInfoSchema } from '../../protocol/index.ts';
import type { Platform } from '../../storage/index.ts';
import { scannerOf } from '../attestations/scanner.ts';
import type { BridgeRef, Frontend, FrontendBridge, FrontendResult, ImageConfigAnswer } from '../frontend.ts';
import { isBuiltInFrontend } from '../gateway/built-in.ts';
import { unsupportedCapability } from '../gateway/refusals.ts';
import * as llb from '../llb/index.ts';
import type { SourceFile } from '../progress.ts';
import { SourceError } from '../source-error.ts';
import { BuildContext, type DefinitionFile } from './build-context.ts';
import { Linter, parseCheckOptions, vertexWarning } from './check/index.ts';
import { type Converted, type ConvertRequest, convertDockerfile } from './convert.ts';
import { imageBytes } from './image-document.ts';
import { at, located } from './located.ts';
import { type FrontendOptions, readOptions } from './options.ts';
import { type Dockerfile, detectSyntax, parseDockerfile } from './parse/index.ts';
import { operationPlatform } from './platforms.ts';
import { answerQuestion, unreadable } from './questions.ts';

const capabilities = ['inputs', 'subrequests', 'contexts', 'gitquerystring'].map(
  (name) => `moby.buildkit.frontend.${name}`,
);

/**
 * Builds from a Dockerfile.
 *
 * @see docs/build.md for the options that it takes
 */
export const dockerfileFrontend: Frontend = async (bridge) => {
  const options = readOptions(bridge);
  const refusal = missingCapability(bridge.options['frontend.caps'] ?? '');
  if (refusal !== undefined && !refusal.canBeForwarded) throw refusal.error;
  const context = await BuildContext.open(bridge, options);
  const file = await context.readDockerfile();
  const source: SourceFile = { filename: file.filename, data: file.data, language: 'Dockerfile' };
  try {
    const forwarded = await forward(bridge, file);
    if (forwarded !== undefined) return forwarded;
    if (refusal !== undefined) throw refusal.error;
    const unread = unreadable(bridge.options['requestid'], source);
    if (unread !== undefined) return unread;
    return await new DockerfileBuild(bridge, options, context, file, source).run();
  } catch (error) {
    throw error instanceof SourceError && error.source === undefined ? error.within(source) : error;
  }
};

function missingCapability(text: string): { error: TareError; canBeForwarded: boolean } | undefined {
  for (const wanted of text === '' ? [] : text.split(',')) {
    const [name = '', ...flags] = wanted.split('+');
    if (capabilities.includes(name)) continue;
    return {
      error: unsupportedCapability(name),
      canBeForwarded: flags.includes('forward'),
    };
  }
  return undefined;
}

/** Hands the build to the frontend that the file asks for. @returns undefined: it is this one */
async function forward(bridge: FrontendBridge, { data }: DefinitionFile): Promise<FrontendResult | undefined> {
  if (bridge.options['cmdline'] !== undefined) return undefined;
  const asked = bridge.options['build-arg:BUILDKIT_SYNTAX'];
  const found = asked === undefined ? detectSyntax(Buffer.from(data).toString('utf8')) : undefined;
  const commandLine = asked?.trim() ?? found?.commandLine;
  if (commandLine === undefined || commandLine === '') return undefined;
  const reference = commandLine.split(' ', 1)[0]!;
  if (isBuiltInFrontend(reference)) return undefined;
  try {
    return await bridge.solve({
      frontend: 'gateway.v0',
      frontendOptions: { ...bridge.options, cmdline: commandLine, source: reference },
      frontendInputs: bridge.inputs,
    });
  } catch (error) {
    if (found !== undefined) throw located(error, found.ranges);
    if (!(error instanceof TareError) || error instanceof SourceError) throw error;
    throw new TareError(kindOf(error), `failed with build-arg:BUILDKIT_SYNTAX = ${commandLine}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

class DockerfileBuild {
  readonly #bridge: FrontendBridge;
  readonly #options: FrontendOptions;
  readonly #context: BuildContext;
  readonly #file: DefinitionFile;
  readonly #map: llb.SourceMap;
  readonly #source: SourceFile;
  readonly #dockerfile: Dockerfile;
  readonly #linter: Linter;
  readonly #answers = new Map<string, Promise<ImageConfigAnswer>>();

  constructor(
    bridge: FrontendBridge,
    options: FrontendOptions,
    context: BuildContext,
    file: DefinitionFile,
    source: SourceFile,
  ) {
    this.#bridge = bridge;
    this.#options = options;
    this.#context = context;
    this.#file = file;
    this.#source = source;
    const { filename, data } = source;
    this.#dockerfile = parseDockerfile(data);
    const vertex = fromBinary(OpSchema, file.definition.def.at(-1)!).inputs[0]?.digest ?? '';
    const isAsked = bridge.options['requestid'] !== undefined;
    this.#linter = new Linter(checkOptionsOf(this.#dockerfile, options), (warning) => {
      if (!isAsked) bridge.warn(vertexWarning(warning, vertex, source));
    });
    this.#map = {
      info: create(SourceInfoSchema, { filename, data, language: 'Dockerfile', definition: file.definition }),
    };
  }

  async run(): Promise<FrontendResult> {
    const question = this.#bridge.options['requestid'];
    if (question !== undefined) {
      return answerQuestion(question, {
        file: this.#file,
        linter: this.#linter,
        source: this.#source,
        hasTarget: this.#options.target !== undefined,
        convert: (isEverything) => this.#convert(this.#options.platforms[0], isEverything),
      });
    }
    const { platforms, sbom } = this.#options;
    const targets = platforms.length === 0 ? [undefined] : platforms;
    const { buildPlatform, resolveMode } = this.#options;
    const scanner = sbom && (await scannerOf(this.#bridge, { platform: buildPlatform, resolveMode }, sbom));
    const parts = await Promise.all(
      targets.map(async (platform) => {
        const converted = await this.#convert(platform, false);
        const definition = llb.marshal(converted.tree, operationPlatform(converted.platform));
        const { ref } = await this.#bridge.solve({ definition, cacheImports: this.#options.cacheImports });
        const id = formatPlatform(converted.platform);
        const { tree, scanned: extras, ignoresCache } = converted;
        const attestations = (await scanner?.({ tree, extras, platformID: id, ignoresCache })) ?? [];
        return { id, ref, converted, attestations };
      }),
    );
    return resultOf(parts, this.#options.isMultiPlatform);
  }

  #convert(platform: Platform | undefined, isEverything: boolean): Promise<Converted> {
    const request: ConvertRequest = {
      bridge: this.#bridge,
      options: this.#options,
      context: this.#context,
      platform,
      source: this.#map,
      linter: this.#linter,
      answers: this.#answers,
      isEverything,
    };
    return convertDockerfile(this.#dockerfile, request);
  }
}

const checkOptionsOf = ({ directives: { check } }: Dockerfile, { checks }: FrontendOptions) =>
  at(check?.ranges ?? [], () => parseCheckOptions(checks ?? check?.value ?? ''));

interface Part {
  id: string;
  ref: BridgeRef | undefined;
  converted: Converted;
  attestations: FrontendResult['attestations'] extends ReadonlyMap<string, infer A> ? A : never;
}

function resultOf(parts: readonly Part[], isMultiPlatform: boolean): FrontendResult {
  const metadata = new Map<string, Uint8Array>();
  for (const { id, converted } of parts) {
    const suffix = isMultiPlatform ? `/${id}` : '';
    metadata.set(`containerimage.config${suffix}`, imageBytes(converted.image));
    if (converted.baseImage !== undefined) {
      metadata.set(`containerimage.base.config${suffix}`, imageBytes(converted.baseImage));
    }
  }
  const platforms = parts.map(({ id, converted }) => ({ ID: id, Platform: converted.platform }));
  metadata.set('refs.platforms', Buffer.from(JSON.stringify({ Platforms: platforms })));
  const attestations = new Map(
    parts.filter((part) => part.attestations.length > 0).map((part) => [part.id, part.attestations]),
  );
  if (isMultiPlatform) return { refs: new Map(parts.map(({ id, ref }) => [id, ref])), metadata, attestations };
  return { ref: parts[0]!.ref, refs: new Map(), metadata, attestations };
}
