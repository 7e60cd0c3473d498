import type { BuildRequest, CachePrune, TypedOptions } from '../../build/index.ts';
import type { control } from '../../protocol/index.ts';

/** A client's request, but for what only this end has. */
export function buildRequestOf(request: control.SolveRequest): Omit<BuildRequest, 'session' | 'drive'> {
  const { Cache: cache } = request;
  return {
    ref: request.Ref,
    ...(request.Definition && { definition: request.Definition }),
    ...(request.Frontend !== '' && { frontend: request.Frontend }),
    frontendOptions: request.FrontendAttrs,
    frontendInputs: new Map(Object.entries(request.FrontendInputs)),
    exporters: exportersOf(request),
    cacheExports: [
      ...(cache?.ExportRefDeprecated
        ? [{ type: 'registry', attributes: { ...cache.ExportAttrsDeprecated, ref: cache.ExportRefDeprecated } }]
        : []),
      ...(cache?.Exports ?? []).map(typed),
    ],
    cacheImports: [
      ...(cache?.ImportRefsDeprecated ?? []).map((ref) => ({ type: 'registry', attributes: { ref } })),
      ...(cache?.Imports ?? []).map(typed),
    ],
    entitlements: request.Entitlements,
    ...(request.SourcePolicy && { sourcePolicies: [request.SourcePolicy] }),
    isInternal: request.Internal,
  };
}

function exportersOf(request: control.SolveRequest): TypedOptions[] {
  if (request.Exporters.length > 0) return request.Exporters.map(typed);
  if (request.ExporterDeprecated === '') return [];
  return [{ type: request.ExporterDeprecated, attributes: request.ExporterAttrsDeprecated }];
}

const typed = ({ Type, Attrs }: { Type: string; Attrs: Record<string, string> }): TypedOptions => ({
  type: Type,
  attributes: Attrs,
});

/** Times are in nanoseconds there. */
export function pruneOf(request: control.PruneRequest): CachePrune {
  return {
    filters: request.filter,
    all: request.all,
    ...(request.keepDuration > 0n && { keepDurationMs: Number(request.keepDuration / 1_000_000n) }),
    ...(request.reservedSpace > 0n && { reservedSpaceBytes: Number(request.reservedSpace) }),
    ...(request.maxUsedSpace > 0n && { maxUsedSpaceBytes: Number(request.maxUsedSpace) }),
    ...(request.minFreeSpace > 0n && { minFreeSpaceBytes: Number(request.minFreeSpace) }),
  };
}
