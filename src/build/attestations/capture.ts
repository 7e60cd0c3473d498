import { MountType, NetMode } from '../../protocol/index.ts';
import type { SourceMaterial } from '../operation.ts';
import type { BuildGraph } from '../solver/build-graph.ts';
import { type Edge, type Vertex, verticesOf } from '../solver/graph.ts';
import type { Asker, BuildEvidence } from './build-evidence.ts';

/** Something of the client's that steps were given. */
export interface GivenItem {
  id: string;
  optional: boolean;
}

/** What a result was made of, and by whose word. */
export interface Capture {
  asker: Asker;
  /** Images, repositories and files, each once, in a stable order. */
  materials: readonly SourceMaterial[];
  /** Names of the client's folders. */
  locals: readonly string[];
  secrets: readonly GivenItem[];
  sshAgents: readonly GivenItem[];
  /** Some command could reach others. */
  usesNetwork: boolean;
  /** More went in than the materials tell of. */
  hasUnknownMaterials: boolean;
}

/** A result that somebody asked for. */
export interface TracedRef {
  readonly id: string;
  readonly edge: Edge | undefined;
  readonly asker: Asker;
  readonly isSolved: boolean;
}

/** Where a client's stream is offered: of this build alone. */
const STREAM = 'http://buildkit-session/';

/**
 * What one platform's result was made of: the sources below it, with what frontends read on the way.
 *
 * @param ref undefined: the empty tree
 * @param others platform ids of the build's other results, and their references
 */
export async function captureOf(
  graph: BuildGraph,
  evidence: BuildEvidence<TracedRef>,
  ref: TracedRef | undefined,
  others: { platformIDs: ReadonlySet<string>; refs: ReadonlySet<string> },
): Promise<Capture> {
  const capture = new Capturing();
  const looked = evidence.refs.filter(({ id, isSolved }) => isSolved && !others.refs.has(id));
  for (const one of new Set([...(ref === undefined ? [] : [ref]), ...looked])) {
    for (const vertex of one.edge === undefined ? [] : verticesOf(one.edge)) await capture.add(graph, vertex);
  }
  for (const image of evidence.images) {
    if (image.platform === undefined || !others.platformIDs.has(image.platform)) capture.addMaterial(image);
  }
  return capture.finish(ref?.asker ?? { frontend: '', options: {} });
}

class Capturing {
  readonly #seen = new Set<string>();
  readonly #materials = new Map<string, SourceMaterial>();
  readonly #locals = new Set<string>();
  readonly #secrets = new Map<string, GivenItem>();
  readonly #sshAgents = new Map<string, GivenItem>();
  #usesNetwork = false;
  #hasUnknownMaterials = false;

  async add(graph: BuildGraph, vertex: Vertex): Promise<void> {
    if (this.#seen.has(vertex.digest)) return;
    this.#seen.add(vertex.digest);
    const { op } = vertex.op;
    if (op.case === 'source') {
      const { material } = await graph.node(vertex).cacheMap();
      if (material === undefined) this.#hasUnknownMaterials = true;
      else this.addMaterial(material);
    } else if (op.case === 'exec') {
      const { mounts, secretenv, network } = op.value;
      if (network !== NetMode.NONE) this.#usesNetwork = true;
      for (const { mountType, secretOpt, SSHOpt } of mounts) {
        if (mountType === MountType.SECRET && secretOpt !== undefined) give(this.#secrets, secretOpt);
        if (mountType === MountType.SSH && SSHOpt !== undefined) give(this.#sshAgents, SSHOpt);
      }
      for (const secret of secretenv) give(this.#secrets, secret);
    } else if (op.case === 'build') this.#hasUnknownMaterials = true;
  }

  addMaterial(material: SourceMaterial): void {
    if (material.kind === 'local') this.#locals.add(material.ref);
    else if (material.ref.startsWith(STREAM)) this.#locals.add('context');
    else {
      const ref = material.kind === 'image' || material.kind === 'oci-layout' ? named(material.ref) : material.ref;
      const key = `${material.kind} ${ref} ${material.platform ?? ''}`;
      if (this.#materials.get(key)?.digest === undefined) this.#materials.set(key, { ...material, ref });
    }
  }

  finish(asker: Asker): Capture {
    return {
      asker,
      materials: [...this.#materials].sort(([a], [b]) => compare(a, b)).map(([, material]) => material),
      locals: [...this.#locals].sort(compare),
      secrets: [...this.#secrets.values()].sort((a, b) => compare(a.id, b.id)),
      sshAgents: [...this.#sshAgents.values()].sort((a, b) => compare(a.id, b.id)),
      usesNetwork: this.#usesNetwork,
      hasUnknownMaterials: this.#hasUnknownMaterials || this.#locals.size > 0,
    };
  }
}

/** An image's name: its digest stands beside it, unless that is all its name. */
const named = (ref: string): string => (/:[^/@]+@/.test(ref) ? ref.replace(/@.*$/, '') : ref);

/** Needed once is needed. */
function give(items: Map<string, GivenItem>, { ID, optional }: { ID: string; optional: boolean }): void {
  const known = items.get(ID);
  items.set(ID, { id: ID, optional: optional && known?.optional !== false });
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
