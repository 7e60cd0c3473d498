import { formatPlatform, hostPlatform, normalized, parsePlatform } from '../../image/index.ts';
import type { Definition } from '../../protocol/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import type { SourceMaterial } from '../operation.ts';
import { withoutPasswords } from '../without-passwords.ts';
import type { ProvenanceOptions } from './attest-options.ts';
import type { Capture } from './capture.ts';
import { definitionSource, definitionSteps, digestMapping } from './definition-steps.ts';
import { imagePurl } from './statement.ts';

/** How one platform's result was made. */
export interface ProvenanceFacts {
  capture: Capture;
  definition: Definition | undefined;
  invocationID: string;
  startedMs: number;
  finishedMs: number;
  /** Outputs of operations, `sha256:…:0`, with the layers that the image has of them; for `mode=max`. */
  layers: ReadonlyMap<string, readonly Descriptor[]>;
}

const predicateTypes = {
  'v0.2': 'https://slsa.dev/provenance/v0.2',
  v1: 'https://slsa.dev/provenance/v1',
} as const;
/** By these names those who verify know how to read BuildKit's documents. */
const buildTypes = {
  'v0.2': 'https://mobyproject.org/buildkit@v1',
  v1: 'https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md',
} as const;

export const provenanceType = ({ version }: Pick<ProvenanceOptions, 'version'>): string => predicateTypes[version];

/** Options of frontends that speak of this host or of the client's session, not of the result. */
const ofTheHost =
  /^(?:cgroup-parent|image-resolve-mode|platform|frontend\.caps|attest:.*|local-sessionid:.*|input-metadata:.*|sharedkey:.*)$/;

/** What both versions of the predicate tell. */
interface Told {
  configSource: { uri?: string; digest?: Record<string, string>; entryPoint?: string };
  parameters: object;
  platform: string;
  materials: { uri: string; digest?: Record<string, string> }[];
  buildConfig: object | undefined;
  metadata: Record<string, unknown>;
  isHermetic: boolean;
  hasAllParameters: boolean;
  hasAllMaterials: boolean;
}

/**
 * The predicate of a SLSA provenance statement, as BuildKit writes it. `min` leaves out what a user said (arguments, labels, names of
 * secrets) and how the graph was made.
 *
 * @see moby/buildkit, docs/attestations/slsa-definitions.md; slsa.dev, "Provenance"
 */
export function provenancePredicate(facts: ProvenanceFacts, options: ProvenanceOptions): object {
  const told = tell(facts, options);
  return options.version === 'v1' ? versionOne(told, facts, options) : versionZeroTwo(told, facts, options);
}

function versionZeroTwo(told: Told, facts: ProvenanceFacts, { builderID, isReproducible }: ProvenanceOptions): object {
  const own = 'https://mobyproject.org/buildkit@v1';
  return {
    builder: { id: builderID },
    buildType: buildTypes['v0.2'],
    materials: told.materials,
    invocation: {
      configSource: told.configSource,
      parameters: told.parameters,
      environment: { platform: told.platform },
    },
    ...(told.buildConfig === undefined ? {} : { buildConfig: told.buildConfig }),
    metadata: {
      buildInvocationID: facts.invocationID,
      buildStartedOn: new Date(facts.startedMs).toISOString(),
      buildFinishedOn: new Date(facts.finishedMs).toISOString(),
      completeness: { parameters: told.hasAllParameters, environment: true, materials: told.hasAllMaterials },
      reproducible: isReproducible,
      [`${own}#hermetic`]: told.isHermetic,
      [`${own}#metadata`]: told.metadata,
    },
  };
}

function versionOne(told: Told, facts: ProvenanceFacts, { builderID, isReproducible }: ProvenanceOptions): object {
  const { entryPoint, ...source } = told.configSource;
  return {
    buildDefinition: {
      buildType: buildTypes.v1,
      externalParameters: {
        configSource: { ...source, ...(entryPoint === undefined ? {} : { path: entryPoint }) },
        request: told.parameters,
      },
      internalParameters: {
        ...(told.buildConfig === undefined ? {} : { buildConfig: told.buildConfig }),
        builderPlatform: told.platform,
      },
      resolvedDependencies: told.materials,
    },
    runDetails: {
      builder: { id: builderID },
      metadata: {
        invocationID: facts.invocationID,
        startedOn: new Date(facts.startedMs).toISOString(),
        finishedOn: new Date(facts.finishedMs).toISOString(),
        buildkit_metadata: told.metadata,
        buildkit_hermetic: told.isHermetic,
        buildkit_completeness: { request: told.hasAllParameters, resolvedDependencies: told.hasAllMaterials },
        buildkit_reproducible: isReproducible,
      },
    },
  };
}

function tell({ capture, definition, layers }: ProvenanceFacts, { mode }: ProvenanceOptions): Told {
  const { asker, materials, locals, secrets, sshAgents } = capture;
  const { context, filename, vcs, args } = sorted(asker.options);
  const isWhole = mode === 'max';
  const shown = Object.entries(args).filter(([key]) => isWhole || !isSaid(key));
  const graph = isWhole && definition !== undefined ? definitionSteps(definition) : undefined;
  const source = graph && definitionSource(definition!, graph.ids);
  const placed = graph === undefined ? {} : layersBySteps(graph.ids, layers);
  return {
    configSource: {
      ...configSource(context, materials),
      ...(filename === undefined ? {} : { entryPoint: filename }),
    },
    parameters: {
      ...(asker.frontend === '' ? {} : { frontend: asker.frontend }),
      ...(shown.length === 0 ? {} : { args: Object.fromEntries(shown) }),
      ...(isWhole && secrets.length > 0 ? { secrets: secrets.map(given) } : {}),
      ...(isWhole && sshAgents.length > 0 ? { ssh: sshAgents.map(given) } : {}),
      ...(locals.length === 0 ? {} : { locals: locals.map((name) => ({ name })) }),
    },
    platform: formatPlatform(normalized(hostPlatform())),
    materials: materials.map(materialDocument),
    buildConfig: graph && { llbDefinition: graph.steps, digestMapping: digestMapping(graph.ids) },
    metadata: {
      ...(Object.keys(vcs).length === 0 ? {} : { vcs }),
      ...(source === undefined ? {} : { source }),
      ...(Object.keys(placed).length === 0 ? {} : { layers: placed }),
    },
    isHermetic: !capture.hasUnknownMaterials && !capture.usesNetwork,
    hasAllParameters: asker.frontend !== '' && shown.length === Object.keys(args).length,
    hasAllMaterials: !capture.hasUnknownMaterials,
  };
}

/** What a user said to the build: values that may be meant for few eyes. */
const isSaid = (key: string): boolean => key.startsWith('build-arg:') || key.startsWith('label:');

const given = ({ id, optional }: Capture['secrets'][number]) => ({ id, ...(optional ? { optional } : {}) });

/** Options that have places of their own, and the others. */
function sorted(options: Readonly<Record<string, string>>) {
  const contextKey = options['contextkey'] || 'context';
  const vcs: [string, string][] = [];
  const args: [string, string][] = [];
  for (const [key, value] of Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (ofTheHost.test(key) || key === contextKey || key === 'contextkey') continue;
    if (key.startsWith('vcs:')) {
      if (value !== '') vcs.push([key.slice('vcs:'.length), withoutPasswords(value)]);
    } else if (key !== 'filename' || value === '') args.push([key, withoutPasswords(value)]);
  }
  return {
    context: options[contextKey] || undefined,
    filename: options['filename'] || undefined,
    vcs: Object.fromEntries(vcs),
    args: Object.fromEntries(args),
  };
}

function configSource(context: string | undefined, materials: readonly SourceMaterial[]): Told['configSource'] {
  if (context === undefined || context.startsWith('http://buildkit-session/')) return {};
  const uri = withoutPasswords(context);
  const found = materials.find(({ kind, ref }) => (kind === 'git' || kind === 'http') && sameAddress(ref, uri));
  return found === undefined ? { uri } : materialDocument(found);
}

/** A frontend may write a repository's address in its own way. */
const sameAddress = (a: string, b: string): boolean => bare(a) === bare(b);
const bare = (address: string): string =>
  address
    .replace(/^[a-z+]+:\/\//i, '')
    .replace(/^[^/@]*@/, '')
    .replace(/#.*$/s, '')
    .replace(/\.git$/, '')
    // `git@host:path` is `ssh://git@host/path`.
    .replace(/^([^/:]+):(?!\d+\/)/, '$1/');

function materialDocument({ kind, ref, digest, platform }: SourceMaterial): Told['materials'][number] {
  const colon = digest?.indexOf(':') ?? -1;
  const digests =
    digest === undefined
      ? {}
      : {
          digest: colon >= 0 ? { [digest.slice(0, colon)]: digest.slice(colon + 1) } : { [commitHash(digest)]: digest },
        };
  if (kind !== 'image' && kind !== 'oci-layout') return { uri: ref, ...digests };
  const type = kind === 'image' ? 'docker' : 'oci';
  return { uri: imagePurl(ref, platform === undefined ? undefined : parsePlatform(platform), type), ...digests };
}

const commitHash = (commit: string): string => (commit.length === 64 ? 'sha256' : 'sha1');

/** @param layers by digest of an operation and number of its output */
function layersBySteps(
  ids: ReadonlyMap<string, string>,
  layers: ProvenanceFacts['layers'],
): Record<string, readonly (readonly Descriptor[])[]> {
  const placed = [...layers].flatMap(([key, descriptors]) => {
    const colon = key.lastIndexOf(':');
    const id = ids.get(key.slice(0, colon));
    return id === undefined ? [] : [[`${id}:${key.slice(colon + 1)}`, [descriptors]] as const];
  });
  return Object.fromEntries(
    placed.sort(([a], [b]) => Number.parseInt(a.slice(4), 10) - Number.parseInt(b.slice(4), 10)),
  );
}
