import type {
  BuildProgress,
  FrontendBridge,
  FrontendResult,
  InstructionList,
  LineRange,
  ListedInstruction,
} from '../../build/index.ts';
import { listInstructions, readDefinitionFile } from '../../build/index.ts';
import type { Op } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { InstructionSink } from './instruction-events.ts';
import { InstructionView, imageKey, type ShownBase } from './instruction-view.ts';
import { type LocatedGraph, locateGraph } from './located-graph.ts';

const IMAGE = 'docker-image://';
const noGraph: LocatedGraph = new Map();
const BUILD_ARG = 'build-arg:';
const LABEL = 'label:';

/** Stands between a client's request and the builder, and tells what happens as the file's instructions. */
export class InstructionFollower {
  readonly #tell: InstructionSink;
  #view: InstructionView | undefined;
  /** Progress before there is a graph. */
  #early: BuildProgress[] = [];

  constructor(tell: InstructionSink) {
    this.#tell = tell;
  }

  /** Runs the Dockerfile's frontend in the client's place, and looks at what it made before anything of it is. */
  async drive(bridge: FrontendBridge): Promise<FrontendResult> {
    const list = await readList(bridge);
    let result: FrontendResult;
    try {
      result = await bridge.solve({ frontend: 'dockerfile.v0', frontendOptions: bridge.options });
    } catch (error) {
      if ('instructions' in list) this.#view = new InstructionView(noGraph, list, new Map(), this.#tell);
      else throw list.error;
      throw error;
    }
    const definition = (result.ref ?? [...result.refs.values()][0])?.definition;
    const graph = definition === undefined ? noGraph : locateGraph(definition);
    // What we cannot read, the frontend of somebody else could.
    const shown = 'instructions' in list ? list : listVertices(graph);
    this.#view = new InstructionView(graph, shown, await basesOf(bridge, graph), this.#tell);
    this.#view.start();
    for (const progress of this.#early) this.#view.update(progress);
    this.#early = [];
    return result;
  }

  progress(progress: BuildProgress): void {
    if (this.#view === undefined) this.#early.push(progress);
    else this.#view.update(progress);
  }

  /** @param imageID undefined: no image was made */
  finish(imageID: string | undefined): void {
    this.#view?.finish(imageID?.replace(/^sha256:/, ''));
  }

  /** Tells which instruction it is about, as far as there are any yet. */
  fail(error: unknown): void {
    this.#view?.fail(placeOf(error));
  }
}

/** By what errors of builders have: they come through a bundle of its own, so that there is no asking for their class. */
function placeOf(error: unknown): { vertex?: string; line?: number; exitCode?: number } {
  if (typeof error !== 'object' || error === null) return {};
  if ('vertex' in error && typeof error.vertex === 'string') {
    const exitCode = 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : undefined;
    return { vertex: error.vertex, ...(exitCode === undefined ? {} : { exitCode }) };
  }
  const [range] = 'ranges' in error && Array.isArray(error.ranges) ? (error.ranges as LineRange[]) : [];
  return range === undefined ? {} : { line: range.start.line };
}

async function readList(bridge: FrontendBridge): Promise<InstructionList | { error: unknown }> {
  const file = await readDefinitionFile(bridge);
  const given = Object.entries(bridge.options).filter(([key]) => key.startsWith(BUILD_ARG));
  const buildArgs = new Map(given.map(([key, value]) => [key.slice(BUILD_ARG.length), value]));
  try {
    const list = listInstructions(file.data, { target: bridge.options['target'], buildArgs });
    return { ...list, instructions: [...list.instructions, ...labelsOf(bridge.options)] };
  } catch (error) {
    return { error };
  }
}

/** What a client adds to the image comes last. */
const labelsOf = (options: Readonly<Record<string, string>>): ListedInstruction[] =>
  Object.entries(options)
    .filter(([key]) => key.startsWith(LABEL))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ kind: 'label', text: `LABEL ${key.slice(LABEL.length)}=${value}`, line: 0 }));

/** Of a file that we cannot read: what is made, in the words of whoever could. */
function listVertices(graph: LocatedGraph): InstructionList {
  const shown = [...graph].filter(([, { name }]) => name !== '' && !name.startsWith('[internal]'));
  return {
    instructions: shown.map(([digest, { name }]) => ({ kind: 'run', text: name, line: 0, vertices: [digest] })),
    unusedArgs: [],
  };
}

/** The images that the graph begins with. */
async function basesOf(bridge: FrontendBridge, graph: LocatedGraph): Promise<Map<string, ShownBase>> {
  const bases = new Map<string, ShownBase>();
  const ask = async (ref: string, platform: Op['platform']) => {
    const { config } = await bridge.resolveImageConfig(ref, {
      resolveMode: 'local',
      logName: `[internal] load metadata for ${ref}`,
      ...(platform && { platform: platformOf(platform) }),
    });
    const { config: settings } = JSON.parse(Buffer.from(config).toString('utf8')) as { config?: { OnBuild?: unknown } };
    const triggers = settings?.OnBuild;
    bases.set(imageKey(ref), {
      id: digestOf(config).replace(/^sha256:/, ''),
      triggers: Array.isArray(triggers) ? triggers.length : 0,
    });
  };
  const images = [...graph.values()].flatMap(({ op, line }) => {
    const identifier = op.op.case === 'source' ? op.op.value.identifier : '';
    return line !== undefined && identifier.startsWith(IMAGE) ? [ask(identifier.slice(IMAGE.length), op.platform)] : [];
  });
  await Promise.all(images);
  return bases;
}

const platformOf = ({ OS, Architecture, Variant }: NonNullable<Op['platform']>) => ({
  os: OS,
  architecture: Architecture,
  ...(Variant === '' ? {} : { variant: Variant }),
});
