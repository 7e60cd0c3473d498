import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { Tracing, tracesUrl } from './tracing.ts';

interface Sent {
  resourceSpans: {
    scopeSpans: { spans: { name: string; traceId: string; parentSpanId?: string; status: object }[] }[];
  }[];
}

test('spans reach a collector, below the client’s own', async () => {
  const bodies: Sent[] = [];
  const seen: (string | undefined)[] = [];
  const collector = createServer(async (request, response) => {
    seen.push(request.url, request.headers['x-key'] as string);
    bodies.push(JSON.parse(Buffer.concat(await request.toArray()).toString()) as Sent);
    response.end('{}');
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const url = tracesUrl({ OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/` });
  const failures: unknown[] = [];
  {
    await using tracing = new Tracing(url!, { OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b' }, (error) =>
      failures.push(error),
    );
    const [trace, span] = ['a'.repeat(32), 'b'.repeat(16)];
    const request = { method: 'GET', route: '/info', status: 200, seconds: 0.25 };
    tracing.note({ ...request, traceparent: `00-${trace}-${span}-01` });
    tracing.note({ ...request, traceparent: `00-${trace}-${span}-00` });
    tracing.note({ ...request, status: 500, traceparent: 'nonsense' });
  }
  await new Promise((resolve) => collector.close(resolve));
  expect(failures).toEqual([]);
  expect(seen).toEqual(['/v1/traces', 'a b']);
  const spans = bodies[0]!.resourceSpans[0]!.scopeSpans[0]!.spans;
  expect(spans).toHaveLength(2);
  expect(spans[0]).toMatchObject({
    name: 'GET /info',
    traceId: 'a'.repeat(32),
    parentSpanId: 'b'.repeat(16),
    status: {},
  });
  expect(spans[1]).toMatchObject({ traceId: expect.stringMatching(/^[0-9a-f]{32}$/), status: { code: 2 } });
  expect(spans[1]!.parentSpanId).toBeUndefined();
});

test('a collector that is not there is reported once, and costs nothing else', async () => {
  const failures: unknown[] = [];
  const tracing = new Tracing('http://127.0.0.1:9/v1/traces', {}, (error) => failures.push(error));
  for (let round = 0; round < 5000; round++) tracing.note({ method: 'GET', route: '/info', status: 200, seconds: 1 });
  await tracing[Symbol.asyncDispose]();
  expect(failures).toHaveLength(1);
});

test.each([
  [{}, undefined],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }, 'http://c:4318/v1/traces'],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c/x' }, 'http://c/x'],
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }, undefined],
])('environment %j sends traces to %s', (env, url) => expect(tracesUrl(env)).toBe(url));
