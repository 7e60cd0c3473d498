import { hostPlatform } from '../../image/index.ts';
import type { FrontendBridge } from '../frontend.ts';
import { BuildContext } from './build-context.ts';
import { expandGlobalArgs } from './convert.ts';
import { expansionMeter } from './expansion-meter.ts';
import { readOptions } from './options.ts';
import { type ArgInstruction, type Instruction, parseDockerfile } from './parse/index.ts';
import { platformArgs } from './platforms.ts';
import { reachable } from './stage.ts';
import { StageGraph } from './stage-graph.ts';

/** An instruction for who shows a build as one goes through its file. */
export interface ListedInstruction {
  kind: Instruction['kind'] | 'from';
  /** On one line, here-documents without their bodies. */
  text: string;
  /** Its first, from 1. */
  line: number;
  /** What `FROM` begins with, variables expanded; `stage`: position in the list of the last instruction of the stage that it names. */
  base?: { name: string; stage?: number };
  /** Parts of the graph that were made from it, where its line does not tell. */
  vertices?: string[];
}

export interface InstructionList {
  /** In the file's order: what the target needs, and the arguments before the first stage. */
  instructions: readonly ListedInstruction[];
  /** Names that were given and that no instruction declares, sorted. */
  unusedArgs: readonly string[];
}

/** Arguments that need no declaration: those of proxies, and what only builders read. */
const undeclared = /^((https?|ftp|no|all)_proxy|(HTTPS?|FTP|NO|ALL)_PROXY|BUILDKIT_\w+|SOURCE_DATE_EPOCH)$/;

/** The file that the frontend will read. @throws {TareError} NotFound: there is none */
export async function readDefinitionFile(bridge: FrontendBridge): Promise<{ filename: string; data: Uint8Array }> {
  const context = await BuildContext.open(bridge, readOptions(bridge));
  return await context.readDockerfile();
}

/**
 * Lists what a build goes through. What an image has left to be done (ONBUILD) is not known here.
 * @throws {TareError} InvalidArgument, NotFound: the file or the target is wrong
 */
export function listInstructions(
  data: Uint8Array,
  how: { target?: string | undefined; buildArgs?: ReadonlyMap<string, string> },
): InstructionList {
  const file = parseDockerfile(data);
  const { target, buildArgs: given = new Map() } = how;
  const platform = hostPlatform();
  const meter = expansionMeter();
  const globals = expandGlobalArgs(file, platformArgs(platform, platform, target, given), given, meter);
  const graph = new StageGraph(platform, file.directives.escape, meter);
  for (const stage of file.stages) graph.add(stage, globals);
  const wanted = graph.target(target);
  for (const stage of [...graph.stages]) graph.link(stage);
  const needed = reachable(wanted);
  const instructions: ListedInstruction[] = file.metaArgs.map(listed);
  const declared = new Set(file.metaArgs.flatMap(namesOf));
  const lastOf = new Map<unknown, number>();
  for (const stage of graph.stages) {
    if (stage.written === undefined || !needed.has(stage)) continue;
    const of = stage.base && lastOf.get(stage.base);
    const base = { name: stage.baseName, ...(of === undefined ? {} : { stage: of }) };
    instructions.push({ ...listed(stage.written), base });
    for (const instruction of stage.written.instructions) {
      instructions.push(listed(instruction));
      if (instruction.kind === 'arg') for (const name of namesOf(instruction)) declared.add(name);
    }
    lastOf.set(stage, instructions.length - 1);
  }
  const unusedArgs = [...given.keys()].filter((name) => !declared.has(name) && !undeclared.test(name)).sort();
  return { instructions, unusedArgs };
}

const namesOf = ({ args }: ArgInstruction): string[] => args.map(({ key }) => key);

const listed = ({
  kind,
  original,
  ranges,
}: Pick<Instruction, 'original' | 'ranges'> & ListedKind): ListedInstruction => ({
  kind,
  text: original,
  line: ranges[0]?.start.line ?? 0,
});

type ListedKind = Pick<ListedInstruction, 'kind'>;
