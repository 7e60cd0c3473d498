import type { BuildResult } from '../../build/index.ts';
import type { BuildOutcome } from './build-service.ts';

/** What exporters and frontends tell, in the engine's words. */
export function outcomeOf({ exporterResponse, metadata, provenance, isMultiPlatform }: BuildResult): BuildOutcome {
  const text = (key: string) => Buffer.from(metadata.get(key) ?? []).toString('utf8');
  const imageID = exporterResponse['containerimage.config.digest'];
  const digest = exporterResponse['containerimage.digest'];
  return {
    exporterResponse,
    provenance: [...provenance].map(([platform, { predicate }]) => ({
      ...(isMultiPlatform ? { platform } : {}),
      predicate: predicate('min'),
    })),
    ...(imageID === undefined ? {} : { imageID }),
    ...(digest === undefined ? {} : { digest }),
    ...(metadata.has('result.txt') || metadata.has('result.json')
      ? {
          answer: {
            ...{ text: text('result.txt'), json: text('result.json') },
            status: Number(text('result.statuscode') || '0'),
          },
        }
      : {}),
  };
}
