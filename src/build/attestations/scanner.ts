import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { canonical, parseReference, withDefaultTag } from '../../image/index.ts';
import { NetMode } from '../../protocol/index.ts';
import type { Platform } from '../../storage/index.ts';
import { readImage, variablesOf } from '../dockerfile/image-document.ts';
import { withDigest } from '../dockerfile/named-context.ts';
import { operationPlatform } from '../dockerfile/platforms.ts';
import type { Attestation, BridgeRef, FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import type { SbomOptions } from './attest-options.ts';

const SOURCES = '/run/src';
const DESTINATION = '/run/out/';
export const SPDX_TYPE = 'https://spdx.dev/Document';
/** Marks a tree whose packages are to be listed by ourselves; it passes through clients that are their own frontends. */
export const CATALOGUE_KEY = 'tare.catalogue';

/** What a bill of materials is to be made of. */
export interface ScannedResult {
  tree: llb.Output | undefined;
  /** Trees beside the result, by name: the context, stages. */
  extras: ReadonlyMap<string, llb.Output>;
  /** `linux/amd64` */
  platformID: string;
  ignoresCache: boolean;
}

export interface ScannerPlace {
  /** Where the scanner runs. */
  platform: Platform;
  resolveMode: 'default' | 'pull' | 'local';
}

/** Asks for a bill of materials of one result. @returns what the frontend hands over with the result */
export type Scanner = (scanned: ScannedResult) => Promise<readonly Attestation[]>;

/**
 * What writes bills of materials: an image whose command reads the trees below /run/src and writes documents to /run/out, or we.
 *
 * @throws {TareError} NotFound … the scanner's image; InvalidArgument: it has no command
 * @see moby/buildkit, docs/attestations/sbom-protocol.md
 */
export async function scannerOf(
  bridge: Pick<FrontendBridge, 'resolveImageConfig' | 'solve'>,
  place: ScannerPlace,
  { generator, parameters }: SbomOptions,
): Promise<Scanner> {
  return generator === undefined
    ? catalogued(bridge, place)
    : await scannedBy(bridge, place, canonical(withDefaultTag(parseReference(generator))), parameters);
}

/** What the bill of the result itself is called; those of trees beside it are `sbom-NAME`. */
export const CORE_NAME = 'sbom';

const reasonOf = (name: string) => ({
  reason: Buffer.from('sbom'),
  ...(name === CORE_NAME ? { 'sbom-core': Buffer.from(name) } : {}),
});

const catalogued =
  (bridge: Pick<FrontendBridge, 'solve'>, { platform }: ScannerPlace): Scanner =>
  async ({ tree, extras }) => {
    const trees = [
      [CORE_NAME, tree] as const,
      ...[...extras].map(([name, extra]) => [`${CORE_NAME}-${name}`, extra] as const),
    ];
    return await Promise.all(
      trees.map(async ([name, output]) => {
        const { ref } = await bridge.solve({ definition: llb.marshal(output, operationPlatform(platform)) });
        return cataloguedTree(name, ref);
      }),
    );
  };

/** Says that the packages of a tree are to be listed. */
export const cataloguedTree = (name: string, ref: BridgeRef | undefined): Attestation => ({
  kind: 'in-toto',
  ...(ref === undefined ? {} : { ref }),
  path: `${name}.spdx.json`,
  metadata: { ...reasonOf(name), [CATALOGUE_KEY]: Buffer.from(name) },
  inToto: { predicateType: SPDX_TYPE, subjects: [] },
});

async function scannedBy(
  bridge: Pick<FrontendBridge, 'resolveImageConfig' | 'solve'>,
  place: ScannerPlace,
  generator: string,
  parameters: SbomOptions['parameters'],
): Promise<Scanner> {
  const platform = operationPlatform(place.platform);
  const answer = await bridge.resolveImageConfig(generator, {
    resolveMode: place.resolveMode,
    platform,
    logName: `[internal] load metadata for ${generator}`,
  });
  const { config } = readImage(answer.config, `config of scanner ${generator}`);
  const args = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (args.length === 0) throw new TareError('InvalidArgument', `scanner ${generator} does not have cmd`);
  const root = llb.image(canonical(withDigest(parseReference(answer.ref), answer.digest)), {
    platform,
    resolveMode: place.resolveMode,
  });

  return async ({ tree, extras, platformID, ignoresCache }) => {
    const env = new Map(variablesOf(config));
    env.set('BUILDKIT_SCAN_DESTINATION', DESTINATION);
    env.set('BUILDKIT_SCAN_SOURCE', posix.join(SOURCES, 'core', CORE_NAME));
    if (extras.size > 0) env.set('BUILDKIT_SCAN_SOURCE_EXTRAS', posix.join(SOURCES, 'extras/'));
    for (const [key, value] of parameters) env.set(`BUILDKIT_SCAN_${key}`, value);
    const { mounts } = llb.exec(
      {
        root,
        args,
        env,
        directory: config.WorkingDir || '/',
        user: '',
        network: NetMode.UNSET,
        platform,
        mounts: [
          { target: DESTINATION, source: undefined },
          { target: '/tmp', source: undefined, tmpfs: { sizeBytes: 0 } },
          { target: posix.join(SOURCES, 'core', CORE_NAME), source: tree, isReadOnly: true },
          ...[...extras].map(([name, source]) => ({
            target: posix.join(SOURCES, 'extras', `${CORE_NAME}-${name}`),
            source,
            isReadOnly: true,
          })),
        ],
      },
      {
        name: `[${platformID}] generating sbom using ${generator}`,
        ...(ignoresCache ? { ignoresCache: true } : {}),
      },
    );
    const { ref } = await bridge.solve({ definition: llb.marshal(mounts[0], platform) });
    return [
      {
        kind: 'bundle',
        ...(ref === undefined ? {} : { ref }),
        path: '',
        metadata: reasonOf(CORE_NAME),
        inToto: { predicateType: SPDX_TYPE, subjects: [] },
      },
    ];
  };
}
