import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { control, ProgressGroupSchema, RangeSchema, SourceInfoSchema } from '../../protocol/index.ts';
import type { BuildProgress } from '../progress.ts';

const optionalTime = <K extends string>(key: K, ms: number | undefined) =>
  (ms === undefined ? {} : { [key]: timestampFromMs(ms) }) as { [P in K]?: Timestamp };

/** Progress in the words of BuildKit's clients. */
export function statusMessage(progress: Required<BuildProgress>): control.StatusResponse {
  return create(control.StatusResponseSchema, {
    vertexes: progress.vertices.map((vertex) =>
      create(control.VertexSchema, {
        digest: vertex.digest,
        inputs: [...vertex.inputs],
        name: vertex.name,
        cached: vertex.isCached,
        error: vertex.error ?? '',
        ...optionalTime('started', vertex.startedMs),
        ...optionalTime('completed', vertex.completedMs),
        ...(vertex.progressGroup && { progressGroup: create(ProgressGroupSchema, vertex.progressGroup) }),
      }),
    ),
    statuses: progress.statuses.map((status) =>
      create(control.VertexStatusSchema, {
        ID: status.id,
        vertex: status.vertex,
        name: status.name,
        current: BigInt(Math.trunc(status.current)),
        total: BigInt(Math.trunc(status.total)),
        timestamp: timestampFromMs(status.timestampMs),
        ...optionalTime('started', status.startedMs),
        ...optionalTime('completed', status.completedMs),
      }),
    ),
    logs: progress.logs.map(({ vertex, timestampMs, stream, bytes }) =>
      create(control.VertexLogSchema, {
        vertex,
        timestamp: timestampFromMs(timestampMs),
        stream: BigInt(stream),
        msg: bytes,
      }),
    ),
    warnings: progress.warnings.map((warning) =>
      create(control.VertexWarningSchema, {
        vertex: warning.vertex,
        level: BigInt(warning.level),
        short: Buffer.from(warning.short),
        detail: warning.detail.map((line) => Buffer.from(line)),
        url: warning.url ?? '',
        ...(warning.source && {
          info: create(SourceInfoSchema, { ...warning.source, language: warning.source.language ?? '' }),
        }),
        ranges: warning.ranges.map((range) => create(RangeSchema, range)),
      }),
    ),
  });
}
