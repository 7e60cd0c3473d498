import type { BuildRequest, CachePrune, SourcePolicyRule, TypedOptions } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { type control, sourcepolicy } from '../../protocol/index.ts';

/** A client's request, but for what only this end has. */
export function buildRequestOf(request: control.SolveRequest): Omit<BuildRequest, 'session' | 'drive'> {
  if (request.Ref === '') throw new TareError('InvalidArgument', 'a build without a Ref: the client names it');
  const { Cache: cache } = request;
  const rules = (request.SourcePolicy?.rules ?? []).map(policyRule);
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
    ...(rules.length > 0 && { sourcePolicies: rules }),
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

function policyRule({ action, selector, updates }: sourcepolicy.Rule): SourcePolicyRule {
  const { PolicyAction, MatchType, AttrMatch } = sourcepolicy;
  return {
    action: named(action, {
      [PolicyAction.ALLOW]: 'allow',
      [PolicyAction.DENY]: 'deny',
      [PolicyAction.CONVERT]: 'convert',
    }),
    match: named(selector?.matchType ?? MatchType.WILDCARD, {
      [MatchType.WILDCARD]: 'wildcard',
      [MatchType.EXACT]: 'exact',
      [MatchType.REGEX]: 'regex',
    }),
    selector: selector?.identifier ?? '',
    constraints: (selector?.constraints ?? []).map(({ key, value, condition }) => ({
      key,
      value,
      condition: named(condition, {
        [AttrMatch.EQUAL]: 'equal',
        [AttrMatch.NOTEQUAL]: 'notequal',
        [AttrMatch.MATCHES]: 'matches',
      }),
    })),
    ...(updates && { updates: { identifier: updates.identifier, attributes: updates.attrs } }),
  };
}

/** @throws {TareError} InvalidArgument: a rule that is not understood must not be passed over */
function named<T extends string>(value: number, names: Readonly<Record<number, T>>): T {
  const name = names[value];
  if (name === undefined) throw new TareError('InvalidArgument', `a source policy with the unknown value ${value}`);
  return name;
}

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
