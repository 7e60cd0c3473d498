import { randomBytes } from 'node:crypto';
import { messageOf } from '../../errors/index.ts';
import { VERSION } from '../version.ts';

/** An answered request, as a trace shows it. */
export interface RequestSpan {
  method: string;
  route: string;
  status: number;
  seconds: number;
  /** The client's own span, W3C Trace Context. */
  traceparent?: string | undefined;
}

const FLUSH_MS = 2_000;
const SEND_MS = 5_000;
/** What a collector that does not answer may cost; the oldest spans go first. */
const MOST_SPANS = 2048;
const SERVER_KIND = 2;
const STATUS_ERROR = 2;

/**
 * Sends a span of each request to a collector, in OpenTelemetry's protocol over HTTP with JSON. What is not taken is dropped and
 * reported once.
 */
export class Tracing implements AsyncDisposable {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #service: string;
  readonly #report: (error: unknown) => void;
  readonly #timer: NodeJS.Timeout;
  #spans: object[] = [];
  #isFailing = false;

  constructor(url: string, env: NodeJS.ProcessEnv, report: (error: unknown) => void) {
    this.#url = url;
    this.#headers = headersOf(env['OTEL_EXPORTER_OTLP_TRACES_HEADERS'] ?? env['OTEL_EXPORTER_OTLP_HEADERS'] ?? '');
    this.#service = env['OTEL_SERVICE_NAME'] || 'tare';
    this.#report = report;
    this.#timer = setInterval(() => void this.#flush(), FLUSH_MS).unref();
  }

  note({ method, route, status, seconds, traceparent }: RequestSpan): void {
    const [, traceId, parentSpanId, flags] =
      /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? '') ?? [];
    // A client that does not record its own part wants none of ours.
    if (flags !== undefined && (Number.parseInt(flags, 16) & 1) === 0) return;
    const endNs = BigInt(Date.now()) * 1_000_000n;
    this.#spans.push({
      traceId: traceId ?? randomBytes(16).toString('hex'),
      spanId: randomBytes(8).toString('hex'),
      ...(parentSpanId === undefined ? {} : { parentSpanId }),
      name: `${method} ${route}`,
      kind: SERVER_KIND,
      startTimeUnixNano: String(endNs - BigInt(Math.round(seconds * 1e9))),
      endTimeUnixNano: String(endNs),
      attributes: [
        { key: 'http.request.method', value: { stringValue: method } },
        { key: 'http.route', value: { stringValue: route } },
        { key: 'http.response.status_code', value: { intValue: String(status) } },
      ],
      status: status >= 500 ? { code: STATUS_ERROR } : {},
    });
    if (this.#spans.length > MOST_SPANS) this.#spans.shift();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#spans.length === 0) return;
    const spans = this.#spans;
    this.#spans = [];
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: this.#service } }] };
    const scopeSpans = [{ scope: { name: 'tare', version: VERSION }, spans }];
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { ...this.#headers, 'content-type': 'application/json' },
        body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans }] }),
        signal: AbortSignal.timeout(SEND_MS),
        redirect: 'error',
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`it answered with status ${response.status}`);
      this.#isFailing = false;
    } catch (error) {
      if (!this.#isFailing) this.#report(new Error(`${this.#url}: ${messageOf(error)}`, { cause: error }));
      this.#isFailing = true;
    }
  }
}

/** Where OpenTelemetry's environment wants traces sent; undefined: nowhere. */
export function tracesUrl(env: NodeJS.ProcessEnv): string | undefined {
  if (env['OTEL_SDK_DISABLED'] === 'true' || env['OTEL_TRACES_EXPORTER'] === 'none') return undefined;
  const own = env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];
  if (own) return own;
  const base = env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return base ? `${base.replace(/\/+$/, '')}/v1/traces` : undefined;
}

/** `name=value,name=value`, percent-encoded. */
function headersOf(text: string): Record<string, string> {
  const pairs = text.split(',').map((pair) => /^\s*([^=\s]+)=(.*?)\s*$/.exec(pair));
  return Object.fromEntries(
    pairs.filter((pair) => pair !== null).map(([, name, value]) => [name!, decodeURIComponent(value!)]),
  );
}
