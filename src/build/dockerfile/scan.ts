import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { canonical, formatPlatform, parseReference } from '../../image/index.ts';
import { NetMode } from '../../protocol/index.ts';
import type { Attestation, FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import type { Converted } from './convert.ts';
import { readImage, variablesOf } from './image-document.ts';
import { withDigest } from './named-context.ts';
import type { FrontendOptions } from './options.ts';
import { operationPlatform } from './platforms.ts';

const SOURCES = '/run/src';
const DESTINATION = '/run/out/';

/**
 * What writes bills of materials: an image whose command reads the trees below /run/src and writes documents to /run/out.
 *
 * @throws {TareError} NotFound … the scanner's image; InvalidArgument: it has no command
 * @see moby/buildkit, docs/attestations/sbom-protocol.md
 */
export async function scannerOf(
  bridge: FrontendBridge,
  options: FrontendOptions,
  { generator, parameters }: NonNullable<FrontendOptions['sbom']>,
): Promise<(converted: Converted) => Promise<Attestation>> {
  const platform = operationPlatform(options.buildPlatform);
  const answer = await bridge.resolveImageConfig(generator, {
    resolveMode: options.resolveMode,
    platform,
    logName: `[internal] load metadata for ${generator}`,
  });
  const { config } = readImage(answer.config, `config of scanner ${generator}`);
  const args = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (args.length === 0) throw new TareError('InvalidArgument', `scanner ${generator} does not have cmd`);
  const root = llb.image(canonical(withDigest(parseReference(answer.ref), answer.digest)), {
    platform,
    resolveMode: options.resolveMode,
  });

  return async (converted) => {
    const env = new Map(variablesOf(config));
    env.set('BUILDKIT_SCAN_DESTINATION', DESTINATION);
    env.set('BUILDKIT_SCAN_SOURCE', posix.join(SOURCES, 'core', 'sbom'));
    if (converted.scanned.size > 0) env.set('BUILDKIT_SCAN_SOURCE_EXTRAS', posix.join(SOURCES, 'extras/'));
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
          { target: posix.join(SOURCES, 'core', 'sbom'), source: converted.tree, isReadOnly: true },
          ...[...converted.scanned].map(([name, source]) => ({
            target: posix.join(SOURCES, 'extras', `sbom-${name}`),
            source,
            isReadOnly: true,
          })),
        ],
      },
      {
        name: `[${formatPlatform(converted.platform)}] generating sbom using ${generator}`,
        ...(converted.ignoresCache ? { ignoresCache: true } : {}),
      },
    );
    const { ref } = await bridge.solve({ definition: llb.marshal(mounts[0], platform) });
    return {
      kind: 'bundle',
      ...(ref === undefined ? {} : { ref }),
      path: '',
      metadata: { reason: Buffer.from('sbom'), 'sbom-core': Buffer.from('sbom') },
      inToto: { predicateType: '', subjects: [] },
    };
  };
}
