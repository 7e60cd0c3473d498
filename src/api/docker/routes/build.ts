import * as T from 'typebox';
import type { EngineServices, InstructionEvent } from '../../../engine/index.ts';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { ClassicBuild, type ClassicLine } from '../from-engine/classic-build.ts';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import { empty, lines } from '../responses.ts';
import { route } from '../routing.ts';
import { type BuildQuery, buildQuery } from '../schema/build.ts';
import { begin } from '../stream/begin.ts';
import { told } from '../stream/told.ts';
import { toBuildOptions } from '../to-engine/build.ts';

/** The part of a name that docker leaves out when it shows it. */
const SHOWN_WITHOUT = /^docker\.io\/(library\/)?/;

export const buildRoutes = [
  route({
    method: 'POST',
    path: '/build',
    query: buildQuery,
    async handler({ engine, query, request }) {
      if (!['', '1', '2'].includes(query.version))
        throw new TareError('InvalidArgument', `invalid version ${JSON.stringify(query.version)}`);
      return await classic(engine, query, request);
    },
  }),

  route({
    method: 'POST',
    path: '/build/cancel',
    query: T.Object({ id: T.String() }),
    async handler({ query }) {
      if (query.id === '') throw new TareError('InvalidArgument', 'build ID not provided');
      return empty(200);
    },
  }),
];

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
  const unsaid: ClassicLine[] = [];
  try {
    for await (const event of events) {
      if (isQuiet) unsaid.push(...build.lines(event));
      else yield* build.lines(event);
    }
    yield* after();
  } catch (error) {
    yield* unsaid;
    yield build.failure(error);
  }
}

function shownTag(tag: string): string {
  const name = tag.replace(SHOWN_WITHOUT, '');
  return /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
}
