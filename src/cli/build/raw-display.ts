import type { BuildProgress } from '../../build/index.ts';
import { BuildLedger } from './build-ledger.ts';
import type { BuildDisplay } from './display.ts';

/** A JSON document a line, in the form of BuildKit's `--progress rawjson`. */
export class RawDisplay implements BuildDisplay {
  readonly ledger = new BuildLedger();
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  show(progress: BuildProgress): void {
    this.ledger.take(progress);
    const document = {
      ...listed('vertexes', progress.vertices, (vertex) => ({
        digest: vertex.digest,
        ...(vertex.inputs.length === 0 ? {} : { inputs: vertex.inputs }),
        name: vertex.name,
        ...dates({ started: vertex.startedMs, completed: vertex.completedMs }),
        ...(vertex.isCached ? { cached: true } : {}),
        ...(vertex.error ? { error: vertex.error } : {}),
        ...(vertex.progressGroup === undefined ? {} : { progressGroup: vertex.progressGroup }),
      })),
      ...listed('statuses', progress.statuses, (status) => ({
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        ...(status.total > 0 ? { total: status.total } : {}),
        current: status.current,
        ...dates({ timestamp: status.timestampMs, started: status.startedMs, completed: status.completedMs }),
      })),
      ...listed('logs', progress.logs, (log) => ({
        vertex: log.vertex,
        stream: log.stream,
        data: Buffer.from(log.bytes).toString('base64'),
        ...dates({ timestamp: log.timestampMs }),
      })),
      ...listed('warnings', progress.warnings, (warning) => ({
        vertex: warning.vertex,
        level: warning.level,
        short: Buffer.from(warning.short).toString('base64'),
        detail: warning.detail.map((text) => Buffer.from(text).toString('base64')),
        ...(warning.url === undefined ? {} : { url: warning.url }),
        ...(warning.source === undefined
          ? {}
          : {
              sourceInfo: {
                filename: warning.source.filename,
                data: Buffer.from(warning.source.data).toString('base64'),
                ...(warning.source.language === undefined ? {} : { language: warning.source.language }),
              },
            }),
        range: warning.ranges,
      })),
    };
    if (Object.keys(document).length > 0) this.#write(`${JSON.stringify(document)}\n`);
  }

  end(): void {}
}

function listed<T>(key: string, items: readonly T[] | undefined, form: (item: T) => unknown): Record<string, unknown> {
  return items === undefined || items.length === 0 ? {} : { [key]: items.map(form) };
}

function dates(times: Record<string, number | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(times).flatMap(([key, ms]) => (ms === undefined ? [] : [[key, new Date(ms).toISOString()]])),
  );
}
