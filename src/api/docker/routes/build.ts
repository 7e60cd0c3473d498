import * as T from 'typebox';
import type { EngineServices, InstructionEvent } from '../../../engine/index.ts';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { ClassicBuild, type ClassicLine } from '../from-engine/classic-build.ts';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import { empty, lines } from '../responses.ts';
import { type Route, route } from '../routing.ts';
import { type BuildQuery, buildQuery } from '../schema/build.ts';
import { begin } from '../stream/begin.ts';
import { told } from '../stream/told.ts';
import { toBuildOptions } from '../to-engine/build.ts';
import type { BuildConnections } from './build-connections.ts';
import { SessionBuilds } from './session-build.ts';

/** Of what a quiet build keeps for its failure, in characters. */
const MAX_UNSAID = 4 << 20;
/** The part of a name that docker leaves out when it shows it. */
const SHOWN_WITHOUT = /^docker\.io\/(library\/)?/;

/** @param connections of clients of BuildKit; undefined: there are none */
export const buildRoutes = (connections: BuildConnections | undefined): Route[] => {
  const sessionBuilds = connections && new SessionBuilds(connections);
  const running = new RunningBuilds();
  return [
    route({
      method: 'POST',
      path: '/build',
      query: buildQuery,
      async handler({ engine, query, request }) {
        const { version, buildid } = query;
        if (!['', '1', '2'].includes(version))
          throw new TareError('InvalidArgument', `invalid version ${JSON.stringify(version)}`);
        const signal = running.add(buildid, request.signal);
        if (version !== '2') return await classic(engine, query, { ...request, signal });
        if (sessionBuilds === undefined)
          throw new TareError('Unsupported', 'builds with a session need a daemon: start one with tare serve');
        return await sessionBuilds.answer(engine, query, { ...request, signal });
      },
    }),

    route({
      method: 'POST',
      path: '/build/cancel',
      query: T.Object({ id: T.String() }),
      async handler({ query }) {
        if (query.id === '') throw new TareError('InvalidArgument', 'build ID not provided');
        running.cancel(query.id);
        return empty(200);
      },
    }),
  ];
};

/** Builds by the ids that their clients gave them. */
class RunningBuilds {
  readonly #builds = new Map<string, AbortController>();

  /** @returns fires also when the build is cancelled by its id */
  add(id: string, gone: AbortSignal): AbortSignal {
    if (id === '' || gone.aborted) return gone;
    const stop = new AbortController();
    this.#builds.set(id, stop);
    const forget = () => {
      if (this.#builds.get(id) === stop) this.#builds.delete(id);
    };
    // The request's signal fires at its end in any case.
    gone.addEventListener('abort', forget, { once: true });
    return AbortSignal.any([gone, stop.signal]);
  }

  cancel(id: string): void {
    this.#builds.get(id)?.abort(new TareError('Unavailable', 'the build was cancelled'));
  }
}

async function classic(engine: EngineServices, query: BuildQuery, request: ApiRequest): Promise<ApiResponse> {
  if (query.remote === 'client-session')
    throw new TareError(
      'InvalidArgument',
      'experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) instead',
    );
  const options = toBuildOptions(query, request);
  const build = new ClassicBuild({
    quiet: query.q,
    removes: query.rm || query.forcerm,
    removesAlways: query.forcerm,
    tags: (options.tags ?? []).map((tag) => shownTag(tag)),
  });
  let after: ClassicLine[] = [];
  const events = told<InstructionEvent>(
    async (tell, signal) => {
      after = build.success(await engine.builds.buildByInstruction(options, tell, signal));
    },
    {
      sizeOf: (event) => (event.type === 'output' ? event.bytes.length : 0),
      instead: { type: 'output', stream: 2, bytes: Buffer.from('\n[output left out: it was not read in time]\n') },
      signal: request.signal,
    },
  );
  return lines(answered(await refused(begin(events)), build, query.q, () => after));
}

/** Docker knows two statuses here: what is missing is the request's fault, and an address that does not answer is not. */
async function refused<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const kind = kindOf(error);
    if (kind === 'NotFound') throw new TareError('InvalidArgument', messageOf(error), { cause: error });
    if (kind === 'Unavailable') throw new TareError('Internal', messageOf(error), { cause: error });
    throw error;
  }
}

/** @param after what is said when all went well */
async function* answered(
  events: AsyncIterable<InstructionEvent>,
  build: ClassicBuild,
  isQuiet: boolean,
  after: () => readonly ClassicLine[],
): AsyncGenerator<ClassicLine> {
  const unsaid = new Unsaid();
  try {
    for await (const event of events) {
      if (isQuiet) unsaid.keep(build.lines(event));
      else yield* build.lines(event);
    }
    yield* after();
  } catch (error) {
    yield* unsaid.lines;
    yield build.failure(error);
  }
}

/** What a quiet build says when it fails: the end of it, if it is long. */
class Unsaid {
  readonly lines: ClassicLine[] = [];
  #length = 0;

  keep(lines: readonly ClassicLine[]): void {
    for (const line of lines) {
      this.lines.push(line);
      this.#length += lengthOf(line);
    }
    while (this.#length > MAX_UNSAID && this.lines.length > 1) this.#length -= lengthOf(this.lines.shift()!);
  }
}

const lengthOf = (line: ClassicLine): number => ('stream' in line ? line.stream.length : 0) + 100;

function shownTag(tag: string): string {
  const name = tag.replace(SHOWN_WITHOUT, '');
  return /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
}
