import { TareError } from '../../errors/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { ImportedResult } from '../cache/imported-keys.ts';
import { CacheKey, contentKey, type FoundResult, idsIn, type KeyLink, outputDigest } from '../cache/key.ts';
import type { MadeBy } from '../cache/store.ts';
import type { CacheMap, Operation, OperationContext } from '../operation.ts';
import type { Tree } from '../tree.ts';
import type { BuildGraph } from './build-graph.ts';
import { failureOf } from './failure.ts';
import type { Vertex } from './graph.ts';
import type { Member } from './shared-work.ts';
import { VertexClock } from './vertex-clock.ts';

/** What is known of an output before anything was run for it. */
interface Look {
  /** Undefined: nothing may be recorded of it. */
  key: CacheKey | undefined;
  found: FoundResult | undefined;
  /** By the contents of its inputs it may have more keys; they would have to be made first, and what is made of it may be known without. */
  isOpen: boolean;
}

/** What an output was looked up by at first. */
interface FirstLook {
  inputs: readonly (readonly CacheKey[])[];
  key: CacheKey;
}

const nothing: Look = { key: undefined, found: undefined, isOpen: false };

/** One vertex in one build. */
export class SolveNode {
  readonly vertex: Vertex;
  readonly operation: Operation;
  readonly #build: BuildGraph;
  readonly #clock: VertexClock;
  readonly #looks = new Map<number, Promise<Look>>();
  readonly #firsts = new Map<number, FirstLook>();
  readonly #deepLooks = new Map<number, Promise<Look>>();
  readonly #trees = new Map<number, Promise<Tree>>();
  #map: Promise<CacheMap> | undefined;
  #alternatives: readonly CacheKey[] | undefined;
  #contents: Promise<readonly (string | undefined)[]> | undefined;
  #run: Promise<readonly Tree[]> | undefined;
  /** Resolves when it turns out that this, or something that it is made of, is in no cache and is being made. */
  readonly #missed = Promise.withResolvers<void>();

  constructor(build: BuildGraph, vertex: Vertex) {
    this.vertex = vertex;
    this.#build = build;
    this.operation = build.solver.parts.operationFor(vertex, build);
    this.#clock = new VertexClock(vertex, build.scope.progress, () => build.solver.parts.now());
  }

  /** By what an output is known, as far as it was looked for. */
  async key(output: number): Promise<CacheKey | undefined> {
    return (await this.#deepest(output)).key;
  }

  #deepest(output: number): Promise<Look> {
    return this.#deepLooks.get(output) ?? this.#look(output);
  }

  /** The key of a look, and other keys by which whatever is made of the output may be known. */
  async #keysOf({ key }: Look, output: number): Promise<readonly CacheKey[]> {
    if (key === undefined) return [];
    this.#alternatives ??= ((await this.cacheMap()).alternatives ?? []).map(
      (digest) => new CacheKey(outputDigest(digest, output), []),
    );
    return [key, ...this.#alternatives];
  }

  /** Found or made. */
  tree(output: number): Promise<Tree> {
    return once(this.#trees, output, async () => {
      const tree = await this.#findOrRun(output);
      this.#build.use(tree);
      return tree;
    });
  }

  /** As far as it was found or made: nothing is done for it. */
  async known(output: number): Promise<Tree | undefined> {
    const tree = this.#trees.get(output);
    if (tree !== undefined) return await tree;
    return (await (this.#deepLooks.get(output) ?? this.#looks.get(output)))?.found?.tree;
  }

  /** What it resolved to: known once it was looked for. */
  cacheMap(): Promise<CacheMap> {
    this.#map ??= watched(
      this.#guarded('failed to load cache key: ', async () => {
        const isSource = this.vertex.inputs.length === 0;
        if (isSource) this.#clock.begin();
        const map = await this.operation.cacheMap(this.#context());
        if (map.dependencies.length !== this.vertex.inputs.length) {
          throw new TareError('Internal', `${this.vertex.name}: ${map.dependencies.length} dependencies`);
        }
        if (isSource && this.operation.isEphemeral !== true) this.#clock.end();
        return map;
      }),
    );
    return this.#map;
  }

  /** By what is known without making anything, if that leads anywhere. */
  #look(output: number): Promise<Look> {
    return once(this.#looks, output, async () => {
      const map = await this.cacheMap();
      if (this.operation.isEphemeral === true) return nothing;
      const inputs = await this.#keysOfInputs(map, (node, position) => node.#look(position));
      const key = new CacheKey(outputDigest(map.digest, output), linksOf(map, inputs));
      this.#firsts.set(output, { inputs, key });
      if (this.#isIgnored) return await this.#deepLook(output);
      const found = await this.#known(key);
      if (found !== undefined) return this.#hit(key, found);
      return (await this.#isRecorded(key)) ? { key, found, isOpen: true } : await this.#deepLook(output);
    });
  }

  /** Also by the contents of inputs, which are made for it. */
  #deepLook(output: number): Promise<Look> {
    return once(this.#deepLooks, output, async () => {
      const map = await this.cacheMap();
      const first = this.#firsts.get(output)!;
      const inputs = await this.#keysOfInputs(map, (node, position) => node.#lookFully(position));
      const { key: known } = equalKeys(inputs, first.inputs)
        ? first
        : { key: new CacheKey(first.key.digest, linksOf(map, inputs)) };
      if (known !== first.key && !this.#isIgnored) {
        const found = await this.#known(known);
        if (found !== undefined) return this.#hit(known, found);
      }
      const contents = await this.#contentDigests(map);
      const key = new CacheKey(
        known.digest,
        known.inputs.map((links, position) => {
          const content = contents[position];
          return content === undefined ? links : [...links, { selector: '', key: contentKey(content) }];
        }),
      );
      if (!isWhole(key)) return nothing;
      const isByContent = contents.some((content) => content !== undefined);
      const found = isByContent && !this.#isIgnored ? await this.#known(key) : undefined;
      if (found === undefined) return { key, found, isOpen: false };
      // From now on the inputs' own keys lead there too.
      if (found.tree !== undefined) await this.#build.solver.parts.cache.link(key);
      return this.#hit(key, found);
    });
  }

  async #lookFully(output: number): Promise<Look> {
    const look = await this.#look(output);
    return look.isOpen ? await this.#deepLook(output) : look;
  }

  /** What else must be equal of work that is done together. */
  get #company(): readonly string[] {
    const { usesSecrets = false } = this.operation;
    if (!usesSecrets && !this.#isIgnored) return [];
    const owners = usesSecrets ? this.#build.scope.sessions.map(({ owner = '' }) => owner) : [];
    return [this.vertex.digest, ...owners, ...(this.#isIgnored ? ['anew'] : [])];
  }

  get #isIgnored(): boolean {
    return this.vertex.metadata?.ignoreCache === true;
  }

  async #keysOfInputs(
    map: CacheMap,
    look: (node: SolveNode, output: number) => Promise<Look>,
  ): Promise<readonly (readonly CacheKey[])[]> {
    const nodes = this.vertex.inputs.map((input) => this.#build.node(input.vertex));
    let isDone = false;
    void Promise.any(nodes.map((node) => node.#missed.promise)).then(
      () => {
        this.#missed.resolve();
        if (!isDone) this.#anticipate(map);
      },
      () => {},
    );
    const keys = nodes.map(async (node, position) => {
      const { output } = this.vertex.inputs[position]!;
      return await node.#keysOf(await look(node, output), output);
    });
    const all = await Promise.all(keys);
    isDone = true;
    return all;
  }

  /**
   * The keys of some inputs wait for something to be made: what is not there of the inputs whose content will count is made beside it,
   * not after it.
   */
  #anticipate({ dependencies }: CacheMap): void {
    for (const [position, { contentDigest }] of dependencies.entries()) {
      const { vertex, output } = this.vertex.inputs[position]!;
      if (contentDigest !== undefined) void watched(this.#build.node(vertex).#makeMissing(output));
    }
  }

  async #makeMissing(output: number): Promise<void> {
    const { found } = await this.#look(output);
    if (found === undefined) await this.tree(output);
  }

  #hit(key: CacheKey, found: FoundResult): Look {
    this.#clock.end({ isCached: true });
    return { key, found, isOpen: false };
  }

  async #known(key: CacheKey): Promise<FoundResult | undefined> {
    for (const source of await this.#build.sources()) {
      const found = source.result(idsIn(source, key), this.#build.presentLayers);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Whether anything was ever recorded by this key, or of what is made of it. */
  async #isRecorded(key: CacheKey): Promise<boolean> {
    if (!isWhole(key) || key.inputs.length === 0) return false;
    return (await this.#build.sources()).some((source) => idsIn(source, key).length > 0);
  }

  /** By position; undefined: the content of that input does not count. */
  #contentDigests(map: CacheMap): Promise<readonly (string | undefined)[]> {
    this.#contents ??= watched(
      Promise.all(
        map.dependencies.map(async ({ contentDigest }, position) => {
          if (contentDigest === undefined) return undefined;
          const tree = await this.#build.treeOf(this.vertex.inputs[position]!);
          this.#clock.begin();
          return await this.#guarded('failed to compute cache key: ', () => contentDigest(tree, this.#context()));
        }),
      ),
    );
    return this.#contents;
  }

  async #findOrRun(output: number): Promise<Tree> {
    const { key, found } = await this.#lookFully(output);
    const loaded = found && (await this.#load(key!, found));
    if (loaded !== undefined) return loaded;
    this.#run ??= watched(this.#make());
    const tree = (await this.#run)[output];
    if (tree === undefined) {
      throw failureOf(this.vertex, new TareError('InvalidArgument', `${this.vertex.name} has no output ${output}`));
    }
    return tree;
  }

  /** @returns undefined: it can't be had, and must be made */
  async #load(key: CacheKey, found: FoundResult): Promise<Tree | undefined> {
    if (found.tree !== undefined) return found.tree;
    const { cache, remote } = found as ImportedResult;
    try {
      this.#clock.begin();
      const tree = await cache.load(remote, this.#context());
      const below: Tree = { layers: tree.layers.slice(0, -1) };
      const facts = new Map(
        remote.layers.map(({ createdMs, description }, at) => [tree.layers[at]!, { createdMs, description }]),
      );
      await this.#build.solver.parts.cache.save(key, tree, {
        ...this.#madeBy([below]),
        createdMs: remote.createdMs,
        facts,
      });
      this.#clock.end({ isCached: true });
      return tree;
    } catch (error) {
      this.#build.signal.throwIfAborted();
      const text = `importing from ${cache.name} failed, running the step: ${String(error)}\n`;
      this.#clock.progress.log(2, Buffer.from(text));
      return undefined;
    }
  }

  async #make(): Promise<readonly Tree[]> {
    if (this.operation.isEphemeral !== true) this.#missed.resolve();
    const map = await this.cacheMap();
    const inputs = await Promise.all(this.vertex.inputs.map((input) => this.#build.treeOf(input)));
    const contents = await this.#contentDigests(map);
    return await this.#guarded('', async () => {
      this.#clock.begin();
      // A build in a build is made of parts of this one; what they do is shared.
      const isNested = this.vertex.op.op.case === 'build';
      const isShared = this.operation.isEphemeral !== true && !isNested;
      const id = isShared ? workID(map, inputs, contents, this.#company) : undefined;
      const trees =
        this.#isIgnored && id !== undefined ? await this.#makeAnew(id, inputs) : await this.#share(id, inputs);
      await this.#save(inputs, trees);
      this.#clock.end({ isCached: false });
      return trees;
    });
  }

  /** Whatever the cache has, but once for all builds that want it so and run side by side. */
  async #makeAnew(id: string, inputs: readonly Tree[]): Promise<readonly Tree[]> {
    const { fresh } = this.#build.solver;
    const made = fresh.find(id, this.#build) ?? (await this.#share(id, inputs));
    fresh.keep(id, made, this.#build);
    for (const tree of made) this.#build.use(tree);
    return made;
  }

  async #share(id: string | undefined, inputs: readonly Tree[]): Promise<readonly Tree[]> {
    const work = this.#build.solver.works.join(id, this.#context(), (context) => this.#perform(id, inputs, context));
    this.#build.follow(work);
    return await work;
  }

  async #perform(id: string | undefined, inputs: readonly Tree[], context: OperationContext): Promise<readonly Tree[]> {
    const { parts, slots } = this.#build.solver;
    // A build in a build runs none by itself, and would wait for its own parts.
    using _slot = this.vertex.op.op.case === 'build' ? undefined : await slots.take(context.signal);
    // Another process may be at the very same work: then its result is there afterwards.
    const mayBeElsewhere = id !== undefined && !this.#isIgnored;
    using _lock = mayBeElsewhere ? await parts.locks.acquire(`build-step:${id}`, context.signal) : undefined;
    const known = mayBeElsewhere ? await this.#madeMeanwhile() : undefined;
    if (known !== undefined) return known;
    // A client's folder may be as it was.
    if (this.operation.isEphemeral !== true) this.#build.hasMade = true;
    return await this.operation.run(inputs, context);
  }

  async #madeMeanwhile(): Promise<readonly Tree[] | undefined> {
    const trees: Tree[] = [];
    for (const output of this.#looks.keys()) {
      const { key } = await this.#deepest(output);
      if (key === undefined) return undefined;
      // Asked anew: what a source answered before is remembered in the key.
      const again = new CacheKey(key.digest, key.inputs);
      const found = this.#build.solver.parts.cache.result(idsIn(this.#build.solver.parts.cache, again));
      if (found?.tree === undefined) return undefined;
      trees[output] = found.tree;
    }
    return trees;
  }

  async #save(inputs: readonly Tree[], trees: readonly Tree[]): Promise<void> {
    for (const [output, tree] of trees.entries()) {
      if (tree === undefined) continue;
      const key = await this.#keyToSave(output);
      if (key !== undefined) await this.#build.solver.parts.cache.save(key, tree, this.#madeBy(inputs));
    }
  }

  /** Outputs differ in nothing but their number: one that nobody looked for has the inputs of one that somebody did. */
  async #keyToSave(output: number): Promise<CacheKey | undefined> {
    if (this.#looks.has(output)) return await this.key(output);
    const any = [...this.#looks.keys()][0];
    const key = any === undefined ? undefined : await this.key(any);
    return key && new CacheKey(outputDigest((await this.cacheMap()).digest, output), key.inputs);
  }

  #madeBy(inputs: readonly Tree[]): MadeBy {
    const { recordType: type, description } = this.operation;
    return { type, description, inherited: new Set(inputs.flatMap((tree) => tree.layers)) };
  }

  #context(): OperationContext & Member {
    return this.#build.member(this.#clock.progress, this.vertex);
  }

  /** Names the vertex in what fails, and shows it. */
  async #guarded<T>(during: string, work: () => Promise<T>): Promise<T> {
    try {
      this.#build.signal.throwIfAborted();
      const working = work();
      this.#build.follow(working);
      return await working;
    } catch (error) {
      const failure = this.#build.signal.aborted ? this.#build.signal.reason : failureOf(this.vertex, error, during);
      if (this.#clock.isRunning) this.#clock.end({ error: this.#build.signal.aborted ? 'context canceled' : failure });
      throw failure;
    }
  }
}

const linksOf = ({ dependencies }: CacheMap, inputs: readonly (readonly CacheKey[])[]): KeyLink[][] =>
  inputs.map((keys, position) => {
    const { selector = '' } = dependencies[position]!;
    return keys.map((key) => ({ selector, key }));
  });

const equalKeys = (some: readonly (readonly CacheKey[])[], others: readonly (readonly CacheKey[])[]): boolean =>
  some.every((keys, position) => keys.length === others[position]!.length && keys[0] === others[position]![0]);

const isWhole = (key: CacheKey): boolean => key.inputs.every((links) => links.length > 0);

/** Equal for work that gives equal trees, whatever led to it. */
const workID = (
  map: CacheMap,
  inputs: readonly Tree[],
  contents: readonly (string | undefined)[],
  more: readonly string[],
): string =>
  digestOf(JSON.stringify([map.digest, inputs.map((tree, position) => contents[position] ?? tree.layers), ...more]));

/** Several may wait for it, or nobody any more: then its failure is nobody's. */
function watched<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}

function once<T>(known: Map<number, Promise<T>>, position: number, make: () => Promise<T>): Promise<T> {
  let work = known.get(position);
  if (work === undefined) {
    work = watched(make());
    known.set(position, work);
  }
  return work;
}
