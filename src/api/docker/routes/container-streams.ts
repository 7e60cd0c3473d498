import * as T from 'typebox';
import type { EngineServices, LogEntry, StatsSample, WaitResult } from '../../../engine/index.ts';
import { messageOf, TareError } from '../../../errors/index.ts';
import { statsOf, stoppedStatsOf } from '../from-engine/stats.ts';
import type { ApiResponse } from '../messages.ts';
import { bytes, json, lines, streamType } from '../responses.ts';
import { route } from '../routing.ts';
import { begin } from '../stream/begin.ts';
import { type Frame, frames } from '../stream/framing.ts';
import { pumpSession } from '../stream/session.ts';
import { takeOver } from '../stream/take-over.ts';
import { overWebSocket, requireWebSocket } from '../stream/web-socket.ts';
import { optionalSeconds } from '../to-engine/seconds.ts';

const attachQuery = T.Object({
  detachKeys: T.String(),
  logs: T.Boolean(),
  stream: T.Boolean(),
  stdin: T.Boolean(),
  stdout: T.Boolean(),
  stderr: T.Boolean(),
});

export const containerStreamRoutes = [
  route({
    method: 'POST',
    path: '/containers/:id/attach',
    hijack: true,
    query: attachQuery,
    async handler({ engine, params, query, request, version }) {
      const session = await engine.containers.attach(params.id, query);
      const multiplex = !session.tty;
      return takeOver(request, { multiplex, version }, (duplex) =>
        pumpSession(session, duplex, { stdin: query.stdin && query.stream, multiplex }),
      );
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/attach/ws',
    hijack: true,
    query: attachQuery,
    async handler({ engine, params, query, request, version }) {
      requireWebSocket(request);
      // Before API 1.42 the streams could be named, and all came.
      const streams = version < 42 ? { stdin: true, stdout: true, stderr: true } : {};
      const options = { ...query, ...streams };
      const session = await engine.containers.attach(params.id, options);
      const stdin = options.stdin && options.stream;
      return overWebSocket(request, version, (duplex, how) =>
        pumpSession(session, duplex, { ...how, stdin, multiplex: false }),
      );
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/logs',
    query: T.Object({
      follow: T.Boolean(),
      stdout: T.Boolean(),
      stderr: T.Boolean(),
      since: T.String(),
      until: T.String(),
      timestamps: T.Boolean(),
      details: T.Boolean(),
      tail: T.String(),
    }),
    async handler({ engine, params, query, request, version }) {
      if (!query.stdout && !query.stderr) {
        throw new TareError('InvalidArgument', 'Bad parameters: you must choose at least one stream');
      }
      const { id, config } = await engine.containers.inspect(params.id);
      const details = query.details ? detailsText(engine.containers.logAttributes(id)) : '';
      const toFrame = query.timestamps || details !== '' ? withHead(query.timestamps, details) : plain;
      const sinceSeconds = optionalSeconds('since', query.since);
      const untilSeconds = optionalSeconds('until', query.until);
      const opened = Promise.withResolvers<void>();
      const entries = engine.containers.logs(id, {
        follow: query.follow,
        stdout: query.stdout,
        stderr: query.stderr,
        sinceSeconds,
        untilSeconds,
        tail: tailOf(query.tail),
        signal: request.signal,
        // Who follows may take each frame for a line.
        joined: toFrame === plain && !query.follow && (sinceSeconds ?? untilSeconds) === undefined,
        onOpen: opened.resolve,
      });
      // docker-py reads what it asked for after it has removed the container.
      const output = frames(entries, toFrame, !config.tty);
      const body = { ...(await begin(output, opened.promise)), reuse: output.reuse };
      return bytes(body, streamType(!config.tty, version));
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/wait',
    query: T.Object({ condition: T.String() }),
    async handler({ engine, params, query, request, version }) {
      // Before API 1.30 there were no conditions, and nothing was answered before the end.
      const isLegacy = version < 30;
      const condition = (isLegacy ? '' : query.condition) || 'not-running';
      if (condition !== 'not-running' && condition !== 'next-exit' && condition !== 'removed') {
        throw new TareError('InvalidArgument', `invalid condition: "${condition}"`);
      }
      const { id } = await engine.containers.inspect(params.id);
      // The wait begins before the headers leave: `docker run` starts the container as soon as it sees them.
      const result = engine.containers.wait(id, condition, request.signal);
      // Whoever has left does not read it.
      result.catch(() => {});
      if (isLegacy) return json(waitAnswer(await result));
      return bytes(waitDocument(result), 'application/json');
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/stats',
    query: T.Object({ stream: T.Boolean({ default: true }), 'one-shot': T.Boolean() }),
    async handler({ engine, params, query, request, version }) {
      const container = await engine.containers.inspect(params.id);
      const isOneShot = version >= 41 && query['one-shot'];
      if (query.stream && isOneShot) {
        throw new TareError('InvalidArgument', 'cannot have stream=true and one-shot=true');
      }
      if (query.stream) return lines(statsStream(engine, container, request.signal));
      return json(await statsOnce(engine, container, isOneShot, request.signal));
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/export',
    async handler({ engine, params }): Promise<ApiResponse> {
      const { id } = await engine.containers.inspect(params.id);
      return bytes(await begin(engine.containers.export(id)), 'application/octet-stream');
    },
  }),
];

/** @returns undefined for `all`, which anything that is no number means too */
function tailOf(text: string): number | undefined {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

function plain(entry: LogEntry): Frame {
  return { stream: entry.stream, payload: entry.line };
}

/** Puts the time and the details before each line; later parts of a long line follow without. */
function withHead(timestamps: boolean, details: string): (entry: LogEntry) => Frame {
  const encoder = new TextEncoder();
  const continues = { stdout: false, stderr: false };
  return ({ stream, time, line }) => {
    const prefix = continues[stream] ? undefined : encoder.encode(`${timestamps ? `${time} ` : ''}${details}`);
    continues[stream] = line.at(-1) !== 0x0a;
    return { stream, payload: line, prefix };
  };
}

/** `name=value,other=value `, by name, each in the form that queries have; a space even where there is none. */
function detailsText(attributes: readonly [string, string][]): string {
  const escaped = (text: string) => encodeURIComponent(text).replaceAll('%20', '+');
  const sorted = [...attributes].sort(([a], [b]) => (a < b ? -1 : 1));
  return `${sorted.map(([name, value]) => `${escaped(name)}=${escaped(value)}`).join(',')} `;
}

const waitAnswer = ({ exitCode, error }: WaitResult) => ({
  StatusCode: exitCode,
  ...(error !== '' && { Error: { Message: error } }),
});

async function* waitDocument(result: Promise<WaitResult>): AsyncGenerator<Uint8Array> {
  const document = await result.then(waitAnswer, (error) => ({
    StatusCode: 125,
    Error: { Message: messageOf(error) },
  }));
  yield new TextEncoder().encode(`${JSON.stringify(document)}\n`);
}

interface Named {
  id: string;
  name: string;
}

async function* statsStream(engine: EngineServices, container: Named, signal: AbortSignal) {
  let previous: StatsSample | undefined;
  for await (const sample of engine.containers.stats(container.id, { stream: true, signal })) {
    yield statsOf(container, sample, previous);
    previous = sample;
  }
  if (!previous) yield stoppedStatsOf(container);
}

/** One document; unless `isOneShot` it waits for a second sample, so that the client can compute a percentage. */
async function statsOnce(engine: EngineServices, container: Named, isOneShot: boolean, signal: AbortSignal) {
  let previous: StatsSample | undefined;
  for await (const sample of engine.containers.stats(container.id, { stream: !isOneShot, signal })) {
    if (isOneShot || previous) return statsOf(container, sample, previous);
    previous = sample;
  }
  return previous ? statsOf(container, previous, undefined) : stoppedStatsOf(container);
}
