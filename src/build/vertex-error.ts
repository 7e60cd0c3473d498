import { type ErrorKind, TareError } from '../errors/index.ts';
import type { LineRange, SourceFile } from './progress.ts';

/** Lines of a file that a definition was made from. */
export interface SourcePlace {
  source: SourceFile;
  ranges: readonly LineRange[];
}

/** A detail of an error as gRPC carries it (`google.protobuf.Any`). */
export interface ErrorDetail {
  typeUrl: string;
  value: Uint8Array;
}

/**
 * A vertex that failed: clients show the lines that it came from. The message is what a user reads, as BuildKit has it:
 * `process "/bin/sh -c false" did not complete successfully: exit code: 1`.
 */
export class VertexError extends TareError {
  /** Digest of the vertex. */
  readonly vertex: string;
  readonly places: readonly SourcePlace[];
  /** Of a command that ended so. */
  readonly exitCode: number | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    where: { vertex: string; places?: readonly SourcePlace[] | undefined; exitCode?: number | undefined },
    options?: ErrorOptions,
  ) {
    super(kind, message, options);
    this.vertex = where.vertex;
    this.places = where.places ?? [];
    this.exitCode = where.exitCode;
  }
}

/** What a frontend of somebody else says went wrong: its details are handed on to the client as they are. */
export class FrontendError extends TareError {
  readonly details: readonly ErrorDetail[];
  /** What the details say of lines. */
  readonly places: readonly SourcePlace[];

  constructor(kind: ErrorKind, message: string, details: readonly ErrorDetail[], options?: ErrorOptions) {
    super(kind, message, options);
    this.details = details;
    this.places = details.flatMap(placeIn);
  }
}

/** At most one: the lines that a detail is of. */
function placeIn({ typeUrl, value }: ErrorDetail): SourcePlace[] {
  if (!typeUrl.endsWith('errdefs.Source+json')) return [];
  try {
    const { info, ranges } = JSON.parse(Buffer.from(value).toString('utf8')) as SourceDetail;
    const source = { filename: String(info?.filename ?? ''), data: Buffer.from(String(info?.data ?? ''), 'base64') };
    const position = (at: Position | undefined) => ({
      line: Number(at?.line ?? 0),
      character: Number(at?.character ?? 0),
    });
    return [
      { source, ranges: (ranges ?? []).map(({ start, end }) => ({ start: position(start), end: position(end) })) },
    ];
  } catch {
    // Somebody else's.
    return [];
  }
}

interface Position {
  line?: number;
  character?: number;
}

interface SourceDetail {
  info?: { filename?: string; data?: string };
  ranges?: { start?: Position; end?: Position }[];
}
