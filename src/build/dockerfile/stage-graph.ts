import { TareError } from '../../errors/index.ts';
import { expandWord, parsePlatform, suggestion, withSuggestion } from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';
import type { LineRange } from '../progress.ts';
import { SourceError } from '../source-error.ts';
import type { ExpansionMeter } from './expansion-meter.ts';
import { emptyImage } from './image-document.ts';
import { at } from './located.ts';
import type { Dockerfile, Instruction, Stage } from './parse/index.ts';
import { type Command, newStage, type StageBuild } from './stage.ts';

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** The stages of a file, and the implicit ones that its instructions name. */
export class StageGraph {
  /** In the file's order, then the implicit ones. */
  readonly stages: StageBuild[] = [];
  readonly #byName = new Map<string, StageBuild>();
  readonly #implicit = new Map<string, StageBuild>();
  readonly #target: Platform;
  readonly #escape: Dockerfile['directives']['escape'];
  readonly #meter: ExpansionMeter;
  #writtenCount = 0;

  constructor(target: Platform, escapedBy: Dockerfile['directives']['escape'], meter: ExpansionMeter) {
    this.#target = target;
    this.#escape = escapedBy;
    this.#meter = meter;
  }

  /** @throws {SourceError} InvalidArgument: a base without a name, a platform that is none */
  add(stage: Stage, globalArgs: ReadonlyMap<string, string>): StageBuild {
    return at(stage.ranges, () => {
      const baseName = this.#expand(stage.base, globalArgs).text;
      if (baseName === '') {
        throw invalid(`base name (${stage.base}) should not be blank${this.#meant(stage.base, globalArgs)}`);
      }
      const build = newStage({
        written: stage,
        ranges: stage.ranges,
        original: stage.original,
        baseName,
        label: stage.name ?? `stage-${this.stages.length}`,
        image: emptyImage(this.#target),
      });
      build.base = this.#byName.get(baseName);
      if (stage.platform !== undefined) build.platform = this.#platform(stage.platform, globalArgs);
      build.commandCount = stage.instructions.filter(isStep).length;
      if (build.base === undefined && baseName !== 'scratch') build.commandCount += 1;
      this.stages.push(build);
      this.#writtenCount += 1;
      if (stage.name !== undefined) this.#byName.set(stage.name.toLowerCase(), build);
      return build;
    });
  }

  #platform(text: string, globalArgs: ReadonlyMap<string, string>): Platform {
    const value = this.#expand(text, globalArgs).text;
    const meant = this.#meant(text, globalArgs);
    if (value === '') throw invalid(`empty platform value from expression ${text}${meant}`);
    try {
      return parsePlatform(value);
    } catch (error) {
      throw invalid(`failed to parse platform ${text}: ${(error as Error).message}${meant}`);
    }
  }

  /** For a variable in a text that has no value. */
  #meant(text: string, globalArgs: ReadonlyMap<string, string>): string {
    const { unset } = this.#expand(text, globalArgs);
    for (const name of unset) {
      const meant = suggestion(name, globalArgs.keys());
      if (meant !== undefined) return ` (did you mean ${meant}?)`;
    }
    return '';
  }

  #expand(text: string, variables: ReadonlyMap<string, string>) {
    return expandWord(text, { variables, escape: this.#escape, meter: this.#meter });
  }

  names(): string[] {
    return [...this.#byName.keys()];
  }

  /** @param name of a stage; undefined: the last @throws {TareError} NotFound: with what was probably meant */
  target(name: string | undefined): StageBuild {
    if (name === undefined) return this.stages[this.#writtenCount - 1]!;
    const stage = this.#byName.get(name.toLowerCase()) ?? this.#byPosition(name);
    if (stage !== undefined) return stage;
    const message = `target stage ${JSON.stringify(name)} could not be found`;
    throw new TareError('NotFound', withSuggestion(message, name.toLowerCase(), this.names()));
  }

  #byPosition(text: string): StageBuild | undefined {
    return /^\d{1,9}$/.test(text) && Number(text) < this.#writtenCount ? this.stages[Number(text)] : undefined;
  }

  /** Finds what the instructions of a stage take from. */
  link(stage: StageBuild): void {
    if (stage.isDone || stage.written === undefined) return;
    stage.commands = stage.written.instructions.map((instruction) => this.command(stage, instruction, false));
  }

  /** @throws {SourceError} InvalidArgument: a position that no stage has */
  command(stage: StageBuild, instruction: Instruction, isTrigger: boolean): Command {
    const sources = at(instruction.ranges, () => this.#sourcesOf(instruction));
    for (const source of sources) if (source !== undefined) stage.dependencies.set(source, instruction);
    return { instruction, sources, isTrigger };
  }

  #sourcesOf(instruction: Instruction): (StageBuild | undefined)[] {
    if (instruction.kind === 'run') {
      return instruction.mounts.map(({ from }) =>
        from === undefined ? undefined : this.#source(from, instruction.ranges),
      );
    }
    if (instruction.kind !== 'copy' || instruction.from === undefined) return [];
    if (!/^[+-]?\d+$/.test(instruction.from)) return [this.#source(instruction.from, instruction.ranges)];
    const stage = this.#byPosition(instruction.from);
    if (stage !== undefined) return [stage];
    throw invalid(
      `invalid stage index ${instruction.from}: there are ${this.#writtenCount} stages, the first of which is 0`,
    );
  }

  #source(name: string, ranges: readonly LineRange[]): StageBuild {
    const known = this.#byName.get(name.toLowerCase()) ?? this.#implicit.get(name);
    if (known !== undefined) return known;
    const stage = newStage({
      written: undefined,
      ranges,
      original: `FROM ${name}`,
      baseName: name,
      label: name,
      image: emptyImage(this.#target),
    });
    this.#implicit.set(name, stage);
    this.stages.push(stage);
    return stage;
  }

  /** @throws {SourceError} InvalidArgument: with the instructions that close the circle */
  refuseCycles(): void {
    const state = new Map<StageBuild, 'open' | 'closed'>();
    for (const first of this.stages) {
      if (state.has(first)) continue;
      const path: { stage: StageBuild; next: Iterator<[StageBuild, Placed]>; by: Placed | undefined }[] = [];
      const enter = (stage: StageBuild, by: Placed | undefined) => {
        state.set(stage, 'open');
        path.push({ stage, next: needsOf(stage), by });
      };
      enter(first, undefined);
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const { value: need, done } = top.next.next();
        if (done === true) {
          state.set(top.stage, 'closed');
          path.pop();
          continue;
        }
        const [stage, by] = need;
        if (state.get(stage) === 'open') throw cycleOf(stage, [...path.slice(1).map((step) => step.by), by]);
        if (!state.has(stage)) enter(stage, by);
      }
    }
  }
}

/** Those that make something, and are counted in progress. */
const isStep = ({ kind }: Instruction): boolean => ['add', 'copy', 'run', 'workdir'].includes(kind);

type Placed = Pick<Instruction, 'ranges'>;

function* needsOf(stage: StageBuild): Iterator<[StageBuild, Placed]> {
  yield* stage.dependencies;
  // A base stands before what begins with it, but what it needs may lead back.
  if (stage.base !== undefined) yield [stage.base, stage];
}

function cycleOf(stage: StageBuild, instructions: readonly (Placed | undefined)[]): SourceError {
  const ranges = instructions.flatMap((instruction) => instruction?.ranges ?? []);
  return new SourceError('InvalidArgument', `circular dependency detected on stage: ${stage.label}`, {
    ranges: ranges.length > 0 ? ranges : stage.ranges,
  });
}
