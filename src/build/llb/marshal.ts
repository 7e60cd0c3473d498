import { createHash } from 'node:crypto';
import { clone, create, toBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import {
  type Definition,
  DefinitionSchema,
  type Input,
  InputSchema,
  LocationSchema,
  LocationsSchema,
  type Op,
  type OpMetadata,
  OpMetadataSchema,
  OpSchema,
  PlatformSchema,
  PositionSchema,
  ProgressGroupSchema,
  RangeSchema,
  type Source,
  SourceSchema,
  WorkerConstraintsSchema,
} from '../../protocol/index.ts';
import type { LineRange } from '../progress.ts';
import type { InputTable, OperationPlatform, Output, SourceMap, Vertex } from './vertex.ts';

/** Larger ones are loaded by nobody: an environment that grows with each line is in each command that follows. */
const MAX_BYTES = 64 << 20;

/**
 * Writes the graph that an output depends on: every operation once, inputs first, and at last one without an operation, whose only input
 * is the output. Equal graphs give equal bytes, those of BuildKit's client.
 *
 * @param platform of operations that name none
 * @returns without operations for the empty tree
 * @throws {TareError} InvalidArgument: it becomes too large
 */
export function marshal(output: Output | undefined, platform: OperationPlatform): Definition {
  const definition = create(DefinitionSchema, { Source: create(SourceSchema) });
  if (output === undefined) return definition;
  const writer = new Writer(definition, platform);
  const input = writer.write(output);
  const head = toBinary(OpSchema, create(OpSchema, { inputs: [input] }));
  definition.def.push(head);
  definition.metadata[digestOf(head)] = create(OpMetadataSchema, { caps: headCapabilities(definition) });
  return definition;
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function headCapabilities(definition: Definition): Record<string, boolean> {
  const caps: Record<string, boolean> = { constraints: true, platform: true };
  for (const metadata of Object.values(definition.metadata)) {
    if (metadata.ignoreCache) caps['meta.ignorecache'] = true;
    if (Object.keys(metadata.description).length > 0) caps['meta.description'] = true;
    if (metadata.exportCache !== undefined) caps['meta.exportcache'] = true;
  }
  return caps;
}

class Writer {
  readonly #definition: Definition;
  readonly #platform: OperationPlatform;
  readonly #digests = new Map<Vertex, string>();
  readonly #written = new Set<string>();
  readonly #sources = new Map<SourceMap, number>();
  #sizeBytes = 0;

  constructor(definition: Definition, platform: OperationPlatform) {
    this.#definition = definition;
    this.#platform = platform;
  }

  /** Inputs come before what they go into. Not by recursion: a graph may be deeper than a stack. */
  write(output: Output): Input {
    const waiting: { vertex: Vertex; next: number }[] = [{ vertex: output.vertex, next: 0 }];
    for (let top = waiting.at(-1); top !== undefined; top = waiting.at(-1)) {
      if (this.#digests.has(top.vertex)) {
        waiting.pop();
        continue;
      }
      const input = top.vertex.inputs[top.next];
      top.next += 1;
      if (input !== undefined) waiting.push({ vertex: input.vertex, next: 0 });
      else this.#add(top.vertex);
    }
    return this.#input(output);
  }

  #input(output: Output): Input {
    return create(InputSchema, { digest: this.#digests.get(output.vertex)!, index: BigInt(output.index) });
  }

  #add(vertex: Vertex): void {
    const bytes = vertex.given?.bytes ?? toBinary(OpSchema, this.#encode(vertex));
    const digest = vertex.given?.digest ?? digestOf(bytes);
    this.#digests.set(vertex, digest);
    this.#describe(digest, vertex.given?.metadata ?? this.#metadata(vertex));
    if (vertex.notes.location !== undefined) this.#locate(digest, vertex.notes.location);
    if (this.#written.has(digest)) return;
    this.#written.add(digest);
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes > MAX_BYTES)
      throw new TareError('InvalidArgument', `the definition of the build has over ${MAX_BYTES} bytes`);
    this.#definition.def.push(bytes);
  }

  #encode(vertex: Vertex): Op {
    const inputs: Input[] = [];
    const table: InputTable = {
      indexOf: (output) => {
        if (output === undefined) return -1n;
        const input = this.#input(output);
        const known = inputs.findIndex(({ digest, index }) => digest === input.digest && index === input.index);
        return BigInt(known >= 0 ? known : inputs.push(input) - 1);
      },
      get size() {
        return inputs.length;
      },
    };
    const op = vertex.encode(table);
    return create(OpSchema, {
      inputs,
      op,
      constraints: create(WorkerConstraintsSchema),
      ...(vertex.platform === 'none' ? {} : { platform: encodePlatform(vertex.platform ?? this.#platform) }),
    });
  }

  #metadata({ notes, capabilities }: Vertex): OpMetadata {
    const description: Record<string, string> = {};
    if (notes.command !== undefined) description['com.docker.dockerfile.v1.command'] = notes.command;
    if (notes.name !== undefined) description['llb.customname'] = notes.name;
    return create(OpMetadataSchema, {
      ignoreCache: notes.ignoresCache === true,
      description,
      caps: Object.fromEntries(capabilities.map((name) => [name, true])),
      ...(notes.progressGroup === undefined ? {} : { progressGroup: create(ProgressGroupSchema, notes.progressGroup) }),
    });
  }

  /** Equal operations are one; what is said about any of them holds for it. */
  #describe(digest: string, metadata: OpMetadata): void {
    const known = this.#definition.metadata[digest];
    if (known === undefined) {
      this.#definition.metadata[digest] = clone(OpMetadataSchema, metadata);
      return;
    }
    known.ignoreCache ||= metadata.ignoreCache;
    Object.assign(known.description, metadata.description);
    Object.assign(known.caps, metadata.caps);
    if (metadata.exportCache !== undefined) known.exportCache = metadata.exportCache;
    if (metadata.progressGroup !== undefined) known.progressGroup = metadata.progressGroup;
  }

  #locate(digest: string, { source, ranges }: { source: SourceMap; ranges: readonly LineRange[] }): void {
    const sources: Source = this.#definition.Source!;
    const index = this.#sources.get(source) ?? sources.infos.push(source.info) - 1;
    this.#sources.set(source, index);
    sources.locations[digest] ??= create(LocationsSchema);
    const locations = sources.locations[digest].locations;
    const location = create(LocationSchema, { sourceIndex: index, ranges: ranges.map(encodeRange) });
    // One place for each file: the last.
    const known = locations.findIndex(({ sourceIndex }) => sourceIndex === index);
    if (known >= 0) locations[known] = location;
    else locations.push(location);
  }
}

const encodePlatform = (platform: OperationPlatform) =>
  create(PlatformSchema, {
    OS: platform.os,
    Architecture: platform.architecture,
    Variant: platform.variant ?? '',
    OSVersion: platform.osVersion ?? '',
    OSFeatures: [...(platform.osFeatures ?? [])],
  });

export const encodeRange = ({ start, end }: LineRange) =>
  create(RangeSchema, { start: create(PositionSchema, start), end: create(PositionSchema, end) });
