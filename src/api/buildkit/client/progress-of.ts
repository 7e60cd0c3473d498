import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { BuildProgress, LineRange } from '../../../build/index.ts';
import type { control, Range } from '../../../protocol/index.ts';

/** What BuildKit's daemons tell of a build, in our words. */
export function progressOf({ vertexes, statuses, logs, warnings }: control.StatusResponse): BuildProgress {
  return {
    vertices: vertexes.map(({ digest, inputs, name, cached, started, completed, error, progressGroup }) => ({
      ...{ digest, inputs, name, isCached: cached },
      ...time('startedMs', started),
      ...time('completedMs', completed),
      ...(error === '' ? {} : { error }),
      ...(progressGroup && { progressGroup: { ...progressGroup } }),
    })),
    statuses: statuses.map(({ ID, vertex, name, current, total, timestamp, started, completed }) => ({
      ...{ id: ID, vertex, name, current: Number(current), total: Number(total) },
      timestampMs: msOf(timestamp),
      ...time('startedMs', started),
      ...time('completedMs', completed),
    })),
    logs: logs.map(({ vertex, timestamp, stream, msg }) => ({
      ...{ vertex, timestampMs: msOf(timestamp), stream: Number(stream), bytes: msg },
    })),
    warnings: warnings.map(({ vertex, level, short, detail, url, info, ranges }) => ({
      ...{ vertex, level: Number(level), short: textOf(short), detail: detail.map(textOf) },
      ...(url === '' ? {} : { url }),
      ...(info && { source: { filename: info.filename, data: info.data, language: info.language } }),
      ranges: ranges.map(rangeOf),
    })),
  };
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

const msOf = (at: Timestamp | undefined): number =>
  at === undefined ? 0 : Number(at.seconds) * 1000 + at.nanos / 1_000_000;

const time = <K extends string>(key: K, at: Timestamp | undefined) =>
  (at === undefined ? {} : { [key]: msOf(at) }) as { [P in K]?: number };

export const rangeOf = ({ start, end }: Range): LineRange => ({
  start: { line: start?.line ?? 0, character: start?.character ?? 0 },
  end: { line: end?.line ?? 0, character: end?.character ?? 0 },
});
