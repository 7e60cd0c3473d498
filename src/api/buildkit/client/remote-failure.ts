import { fromBinary } from '@bufbuild/protobuf';
import type { LineRange, SourceFile } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { errdefs, status } from '../../../protocol/index.ts';
import type { CallFailed } from '../session/grpc-call.ts';
import { rangeOf } from './progress-of.ts';

/** Lines of a file that a failure came from. */
interface Place {
  source: SourceFile;
  ranges: readonly LineRange[];
}

/** A build that failed at a daemon, with the lines that it tells of. */
export class RemoteBuildFailed extends TareError {
  readonly places: readonly Place[];

  constructor(failure: CallFailed) {
    super(failure.kind, failure.message, { cause: failure });
    this.places = placesOf(failure);
  }
}

function placesOf({ status: text }: CallFailed): Place[] {
  if (text === undefined) return [];
  try {
    const { details } = fromBinary(status.StatusSchema, Buffer.from(text, 'base64'));
    return details.flatMap(({ typeUrl, value }) => placeIn(typeUrl, value));
  } catch {
    // Somebody else's words.
    return [];
  }
}

/** BuildKit writes details as JSON; a definition's bytes are in base64 there. */
function placeIn(typeUrl: string, value: Uint8Array): Place[] {
  if (typeUrl.endsWith('errdefs.Source')) {
    const { info, ranges } = fromBinary(errdefs.SourceSchema, value);
    return info === undefined ? [] : [{ source: info, ranges: ranges.map(rangeOf) }];
  }
  if (!typeUrl.endsWith('errdefs.Source+json')) return [];
  const { info = {}, ranges = [] } = JSON.parse(Buffer.from(value).toString('utf8')) as JsonSource;
  const position = (at: JsonPosition | undefined) => ({
    line: Number(at?.line ?? 0),
    character: Number(at?.character ?? 0),
  });
  return [
    {
      source: { filename: String(info.filename ?? ''), data: Buffer.from(String(info.data ?? ''), 'base64') },
      ranges: ranges.map(({ start, end }) => ({ start: position(start), end: position(end) })),
    },
  ];
}

interface JsonPosition {
  line?: number;
  character?: number;
}

interface JsonSource {
  info?: { filename?: string; data?: string };
  ranges?: { start?: JsonPosition; end?: JsonPosition }[];
}
