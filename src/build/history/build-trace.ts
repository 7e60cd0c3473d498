import { randomBytes } from 'node:crypto';
import type { BuildProgress, VertexState } from '../progress.ts';

export const TRACE_TYPE = 'application/vnd.buildkit.otlp.json.v0';
const MAX_SPANS = 20_000;

const INTERNAL = 1;
const SERVER = 2;
const NO_SPAN = '0'.repeat(16);
const NO_TRACE = '0'.repeat(32);

interface Span {
  id: string;
  parent: string;
  kind: number;
  name: string;
  startMs: number;
  endMs: number;
  error: string | undefined;
  attributes: Readonly<Record<string, string | boolean>>;
}

/** Where a build's time went: a span for the build and one for each vertex, as OpenTelemetry's tools for Go write spans down. */
export class BuildTrace {
  readonly #trace: string;
  readonly #root = randomBytes(8).toString('hex');
  readonly #vertices = new Map<string, { id: string; state: VertexState }>();

  /** @param trace id of the client's trace, 32 hexadecimal digits */
  constructor(trace = randomBytes(16).toString('hex')) {
    this.#trace = trace;
  }

  add({ vertices }: Required<BuildProgress>): void {
    for (const state of vertices) {
      const known = this.#vertices.get(state.digest);
      if (known === undefined && this.#vertices.size >= MAX_SPANS) continue;
      // One that is taken up again has begun at first.
      const startedMs = known?.state.startedMs ?? state.startedMs;
      const merged = startedMs === undefined ? state : { ...state, startedMs };
      this.#vertices.set(state.digest, { id: known?.id ?? randomBytes(8).toString('hex'), state: merged });
    }
  }

  /** A line a span. */
  lines(build: { ref: string; startMs: number; endMs: number; error: string | undefined }): Uint8Array {
    const { ref, startMs, endMs, error } = build;
    const root = { id: this.#root, parent: NO_SPAN, kind: SERVER, name: 'moby.buildkit.v1.Control/Solve' };
    const spans: Span[] = [{ ...root, ...{ startMs, endMs, error }, attributes: { 'build.ref': ref } }];
    for (const { id, state } of this.#vertices.values()) {
      if (state.startedMs === undefined) continue;
      spans.push({
        ...{ id, parent: this.#root, kind: INTERNAL, name: state.name },
        ...{ startMs: state.startedMs, endMs: Math.max(state.completedMs ?? endMs, state.startedMs) },
        error: state.error || undefined,
        attributes: { vertex: state.digest, cached: state.isCached },
      });
    }
    return Buffer.from(spans.map((span) => `${JSON.stringify(this.#written(span, spans.length))}\n`).join(''));
  }

  #written({ id, parent, kind, name, startMs, endMs, error, attributes }: Span, count: number): object {
    const context = { TraceFlags: '01', TraceState: '', Remote: false };
    return {
      Name: name,
      SpanContext: { TraceID: this.#trace, SpanID: id, ...context },
      Parent: { TraceID: parent === NO_SPAN ? NO_TRACE : this.#trace, SpanID: parent, ...context },
      SpanKind: kind,
      StartTime: new Date(startMs).toISOString(),
      EndTime: new Date(endMs).toISOString(),
      Attributes: Object.entries(attributes).map(([key, value]) => keyValue(key, value)),
      Events: null,
      Links: null,
      Status: { Code: error === undefined ? 'Unset' : 'Error', Description: error ?? '' },
      ...{ DroppedAttributes: 0, DroppedEvents: 0, DroppedLinks: 0 },
      ChildSpanCount: kind === SERVER ? count - 1 : 0,
      Resource: [keyValue('service.name', 'tare')],
      InstrumentationLibrary: { Name: 'tare', Version: '', SchemaURL: '' },
    };
  }
}

const keyValue = (Key: string, Value: string | boolean) => ({
  Key,
  Value: { Type: typeof Value === 'boolean' ? 'BOOL' : 'STRING', Value },
});
