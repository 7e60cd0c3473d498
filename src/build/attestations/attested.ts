import { normalized } from '../../image/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import { type BridgeContext, SolvedRef } from '../bridge.ts';
import type { ResultProvenance } from '../build-types.ts';
import type { ExportedForm, PartAttestation } from '../exporter.ts';
import type { Attestation, BridgeRef, FrontendResult } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { runnablePlatforms } from '../platforms.ts';
import type { BuildGraph } from '../solver/build-graph.ts';
import { type Edge, verticesOf } from '../solver/graph.ts';
import { type ProvenanceOptions, provenanceOptions, sbomOptions } from './attest-options.ts';
import { billOf, isCatalogued } from './bill.ts';
import { bundled, single } from './bundle.ts';
import { type Capture, captureOf } from './capture.ts';
import { provenancePredicate, provenanceType } from './provenance.ts';
import { CORE_NAME, cataloguedTree, type Scanner, scannerOf } from './scanner.ts';
import { GivenBytes } from './statement.ts';

/** A result of one platform, about which something is said. */
export interface AttestedResult {
  platformID: string;
  platform: { os: string; architecture: string };
  ref: BridgeRef | undefined;
}

export interface AttestedPart {
  attestations: readonly PartAttestation[];
  provenance: ResultProvenance;
}

/** Says about each of a build's results what the client wants said, and what frontends have said already. */
export class Attester {
  readonly #context: BridgeContext;
  readonly #provenance: ProvenanceOptions | undefined;
  readonly #scanner: () => Promise<Scanner>;
  readonly #wantsBill: boolean;
  readonly #given = new GivenBytes();

  /** @throws {TareError} InvalidArgument: options that are none */
  constructor(context: BridgeContext) {
    const options = context.request.frontendOptions ?? {};
    this.#context = context;
    this.#provenance = provenanceOptions(options);
    const bill = sbomOptions(options);
    this.#wantsBill = bill !== undefined;
    const [own] = runnablePlatforms();
    const mode = options['image-resolve-mode'];
    let scanner: Promise<Scanner> | undefined;
    this.#scanner = () => {
      const place = {
        platform: normalized(own!),
        resolveMode: mode === 'pull' || mode === 'local' ? mode : 'default',
      } as const;
      scanner ??= scannerOf(context.bridge, place, bill!);
      return scanner;
    };
  }

  /** @param results all of the build, their trees made */
  async say(result: FrontendResult, results: readonly AttestedResult[]): Promise<AttestedPart[]> {
    // First of all: a scanner is no part of what was built, and is run for its statements.
    const captures = await Promise.all(results.map((one) => this.#capture(one, results)));
    const isBilled = [...result.attestations.values()].flat().some(isBill);
    return await Promise.all(
      results.map(async (about, position) => {
        const capture = captures[position]!;
        const provenance = this.#told(capture, about.ref);
        // Nothing takes them.
        if (this.#context.request.exporters.length === 0) return { attestations: [], provenance };
        const said = result.attestations.get(about.platformID) ?? [];
        const given = this.#wantsBill && !isBilled ? [...said, ...(await this.#bill(about))] : said;
        const statements = await Promise.all(given.map((one) => this.#statements(one, about)));
        const wanted = this.#provenance;
        const made = wanted === undefined ? [] : [this.#provenanceOf(capture, about.ref, wanted)];
        return { attestations: [...statements.flat(), ...made], provenance };
      }),
    );
  }

  async #bill({ ref, platformID }: AttestedResult): Promise<readonly Attestation[]> {
    const definition = ref?.definition;
    if (ref !== undefined && definition === undefined) return [cataloguedTree(CORE_NAME, ref)];
    const tree = definition && llb.outputOf(definition);
    const isUncached = this.#context.request.frontendOptions?.['no-cache'] === '';
    return await (await this.#scanner())({ tree, extras: new Map(), platformID, ignoresCache: isUncached });
  }

  async #statements(one: Attestation, { platform }: AttestedResult): Promise<PartAttestation[]> {
    const { parts, graph } = this.#context;
    if (isCatalogued(one)) {
      const { layers, version: toolVersion } = parts;
      return [billOf({ layers, toolVersion, platform, signal: graph.signal }, one)];
    }
    return one.kind === 'bundle' ? await bundled(one, this.#given) : [single(one, this.#given)];
  }

  #capture({ ref }: AttestedResult, all: readonly AttestedResult[]): Promise<Capture> {
    const { graph, evidence } = this.#context;
    const others = all.filter((other) => other.ref !== ref);
    return captureOf(graph, evidence, ref instanceof SolvedRef ? ref : undefined, {
      platformIDs: new Set(others.map(({ platformID }) => platformID)),
      refs: new Set(others.flatMap((other) => (other.ref === undefined ? [] : [other.ref.id]))),
    });
  }

  #provenanceOf(capture: Capture, ref: BridgeRef | undefined, options: ProvenanceOptions): PartAttestation {
    const facts = this.#facts(capture, ref);
    return {
      predicateType: provenanceType(options),
      path: options.filename,
      isInlineOnly: options.isInlineOnly,
      subjects: [],
      predicate: async (form) => {
        const edge = ref instanceof SolvedRef ? ref.edge : undefined;
        const layers = options.mode === 'max' ? await placedLayers(this.#context.graph, edge, form) : new Map();
        return provenancePredicate({ ...facts(), layers }, options);
      },
    };
  }

  #told(capture: Capture, ref: BridgeRef | undefined): ResultProvenance {
    const own = { isReproducible: false, builderID: '', isInlineOnly: false, filename: '' };
    // Clients of before know only this version where they look for it.
    const options = { ...own, ...this.#provenance, version: 'v0.2' } as const;
    const finished = this.#facts(capture, ref)();
    return {
      predicateType: provenanceType(options),
      predicate: (mode) => provenancePredicate({ ...finished, layers: new Map() }, { ...options, mode }),
    };
  }

  #facts(capture: Capture, ref: BridgeRef | undefined) {
    const { evidence, request, parts } = this.#context;
    return () => ({
      capture,
      definition: ref?.definition,
      invocationID: request.ref,
      startedMs: evidence.startedMs,
      finishedMs: parts.now(),
    });
  }
}

const isBill = ({ metadata }: Attestation): boolean =>
  Buffer.from(metadata['reason'] ?? []).toString('utf8') === 'sbom';

/** The blobs that an image has of what each operation gave, where it has all of them. */
async function placedLayers(
  graph: BuildGraph,
  edge: Edge | undefined,
  { image }: ExportedForm,
): Promise<Map<string, readonly Descriptor[]>> {
  const placed = new Map<string, readonly Descriptor[]>();
  if (edge === undefined || image === undefined) return placed;
  const known = new Map(image.layers.map(({ name, descriptor }) => [name, descriptor]));
  for (const { vertex, output } of [edge, ...verticesOf(edge).flatMap(({ inputs }) => inputs)]) {
    const key = `${vertex.digest}:${output}`;
    if (placed.has(key)) continue;
    const tree = await graph.node(vertex).known(output);
    const layers = tree?.layers.map((name) => known.get(name)) ?? [];
    if (layers.length > 0 && layers.every((layer) => layer !== undefined)) placed.set(key, layers);
  }
  return placed;
}
