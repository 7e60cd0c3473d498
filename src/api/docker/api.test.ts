import { expect, test, vi } from 'vitest';
import type { ErrorKind } from '../../errors/index.ts';
import { TareError } from '../../errors/index.ts';
import { createApi } from './api.ts';
import { fakeEngine, view } from './fake-engine.ts';
import type { ApiRequest } from './messages.ts';

type Given = Parameters<typeof fakeEngine>[0];

async function ask(
  given: Given,
  method: string,
  target: string,
  body?: string | object,
  headers?: Record<string, string>,
) {
  const url = new URL(target, 'http://d');
  const text = typeof body === 'string' ? body : body && JSON.stringify(body);
  const request: ApiRequest = {
    method,
    path: url.pathname,
    query: url.searchParams,
    headers: headers ?? (text ? { 'content-type': 'application/json' } : {}),
    body: (async function* () {
      if (text) yield Buffer.from(text);
    })(),
    signal: new AbortController().signal,
  };
  const logged: string[] = [];
  const logger = { error: (_fields: object, message: string) => logged.push(message) };
  const response = await createApi(fakeEngine(given), { version: '1.2.3', logger }).handle(request);
  let answer = '';
  if (response.body instanceof Uint8Array) answer = Buffer.from(response.body).toString();
  else for await (const chunk of response.body ?? []) answer += Buffer.from(chunk).toString();
  const type = response.headers['content-type'];
  return { status: response.status, headers: response.headers, text: answer, type, logged };
}

test('ping', async () => {
  const { status, headers, text } = await ask({}, 'GET', '/_ping');
  expect({ status, text }).toEqual({ status: 200, text: 'OK' });
  expect(headers).toMatchObject({
    'api-version': '1.51',
    ostype: 'linux',
    'docker-experimental': 'false',
    'builder-version': '1',
    server: 'Tare/1.2.3 (linux)',
    'cache-control': 'no-cache, no-store, must-revalidate',
  });
});

test.each([
  ['GET', '/nothing'],
  ['GET', '/v1.51/nothing'],
  ['PUT', '/info'],
  ['GET', '/'],
])('%s %s: page not found', async (method, path) => {
  const { status, text } = await ask({}, method, path);
  expect({ status, body: JSON.parse(text) }).toEqual({ status: 404, body: { message: 'page not found' } });
});

test('a version that is too new', async () => {
  const { status, text } = await ask({}, 'GET', '/v1.99/info');
  expect(status).toBe(400);
  expect(JSON.parse(text).message).toMatch(/^client version 1\.99 is too new/);
});

test.each<[ErrorKind, number]>([
  ['InvalidArgument', 400],
  ['NotFound', 404],
  ['Conflict', 409],
  ['AlreadyExists', 409],
  ['NotModified', 304],
  ['Unauthorized', 401],
  ['Forbidden', 403],
  ['Unsupported', 501],
  ['Unavailable', 503],
  ['NotExecutable', 400],
  ['CommandNotFound', 400],
  ['Internal', 500],
])('%s is %d', async (kind, want) => {
  const start = async () => {
    throw new TareError(kind, 'what and why');
  };
  const { status, text, logged } = await ask({ containers: { start } }, 'POST', '/containers/x/start');
  expect(status).toBe(want);
  expect(text).toBe(want === 304 ? '' : '{"message":"what and why"}\n');
  expect(logged).toEqual(want === 500 ? ['POST /containers/x/start: what and why'] : []);
});

test.each<[string, string, Record<string, string> | undefined, RegExp]>([
  ['not JSON', '{', undefined, /^invalid JSON: /],
  ['another type', '{}', { 'content-type': 'text/plain' }, /^unsupported Content-Type header \(text\/plain\)/],
  ['a number for a string', '{"Image":5}', undefined, /^invalid JSON: json: cannot unmarshal number/],
  ['nothing', '', undefined, /^invalid JSON: got EOF while reading request body$/],
  ['null', 'null', undefined, /^invalid JSON: got EOF while reading request body$/],
])('create with %s', async (_, body, headers, message) => {
  const { status, text } = await ask({}, 'POST', '/containers/create', body, headers);
  expect(status).toBe(400);
  expect(JSON.parse(text).message).toMatch(message);
});

test('a body over the limit is refused before it is all read', async () => {
  let sent = 0;
  const body = (async function* () {
    for (;;) {
      sent += 1;
      yield Buffer.alloc(1024 * 1024, 'x');
    }
  })();
  const response = await createApi(fakeEngine({}), { version: '' }).handle({
    ...{ method: 'POST', path: '/containers/create', query: new URLSearchParams(), headers: {}, body },
    signal: new AbortController().signal,
  });
  expect(response.status).toBe(400);
  expect(sent).toBe(17);
});

test('create hands over what was asked for', async () => {
  const asked: unknown[] = [];
  const create = async (request: unknown) => {
    asked.push(request);
    return { id: 'abc', warnings: ['careful'] };
  };
  const { status, text } = await ask(
    { containers: { create } },
    ...(['POST', '/v1.44/containers/create?name=/web&platform=linux/amd64', { Image: 'busybox' }] as const),
  );
  expect({ status, body: JSON.parse(text) }).toEqual({ status: 201, body: { Id: 'abc', Warnings: ['careful'] } });
  expect(asked).toMatchObject([{ name: 'web', platform: 'linux/amd64', config: { image: 'busybox' }, networking: [] }]);
});

test.each([
  { missing: 'the image', imageIsThere: false, want: 404 },
  { missing: 'something else', imageIsThere: true, want: 400 },
])('create without $missing', async ({ imageIsThere, want }) => {
  const create = async () => {
    throw new TareError('NotFound', 'network n not found');
  };
  const inspect = async () => {
    if (!imageIsThere) throw new TareError('NotFound', 'No such image: busybox');
    return { id: 'sha256:a' } as never;
  };
  const given = { containers: { create }, images: { inspect } };
  const { status, text } = await ask(given, 'POST', '/containers/create', { Image: 'busybox' });
  expect({ status, text }).toEqual({ status: want, text: '{"message":"network n not found"}\n' });
});

test('image names may hold slashes, tags and escapes', async () => {
  const asked: string[] = [];
  const inspect = async (name: string) => {
    asked.push(name);
    throw new TareError('NotFound', `No such image: ${name}`);
  };
  for (const name of ['busybox', 'host:5000/a/b:tag', 'a/json', 'a%2Fb', 'get', 'x@sha256:00']) {
    expect((await ask({ images: { inspect } }, 'GET', `/images/${name}/json`)).status).toBe(404);
  }
  expect(asked).toEqual(['busybox', 'host:5000/a/b:tag', 'a/json', 'a/b', 'get', 'x@sha256:00']);
});

test('what fails before a pull began has a status, what fails later is a line', async () => {
  async function* pull(name: string) {
    if (name === 'gone:1') throw new TareError('NotFound', 'pull access denied for gone');
    yield { id: '1', status: 'Pulling from library/broken' };
    throw new TareError('Unavailable', 'the connection broke');
  }
  const early = await ask({ images: { pull } }, 'POST', '/images/create?fromImage=gone&tag=1');
  expect([early.status, JSON.parse(early.text)]).toEqual([404, { message: 'pull access denied for gone' }]);
  const late = await ask({ images: { pull } }, 'POST', '/images/create?fromImage=broken&tag=1');
  expect([late.status, late.text.split('\r\n').map((line) => line && JSON.parse(line))]).toEqual([
    200,
    [
      { status: 'Pulling from library/broken', progressDetail: {}, id: '1' },
      { errorDetail: { message: 'the connection broke' }, error: 'the connection broke' },
      '',
    ],
  ]);
});

test.each([
  ['fromImage=a&tag=1', { name: 'a:1', allTags: false }],
  ['fromImage=a', { name: 'a', allTags: true }],
  ['fromImage=h:5000/a/b:', { name: 'h:5000/a/b', allTags: true }],
  ['fromImage=h:5000/a/b:1', { name: 'h:5000/a/b:1', allTags: false }],
  [`fromImage=a&tag=sha256:${'0'.repeat(64)}`, { name: `a@sha256:${'0'.repeat(64)}`, allTags: false }],
  ['fromImage=a&tag=1&platform=linux/arm64', { name: 'a:1', allTags: false, platform: 'linux/arm64' }],
])('what %s asks for', async (query, want) => {
  const asked: object[] = [];
  async function* pull(name: string, options: { allTags?: boolean; platform?: string } = {}) {
    const { allTags, platform } = options;
    asked.push({ name, allTags, ...(platform === undefined ? {} : { platform }) });
    yield { status: 'done' };
  }
  await ask({ images: { pull } }, 'POST', `/images/create?${query}`);
  expect(asked).toEqual([want]);
});

test('ps shows an image by its id once its name means another', async () => {
  const list = async () => [view(), view({ imageId: 'sha256:old' })];
  const inspect = async () => ({ id: view().imageId }) as never;
  const { text } = await ask({ containers: { list }, images: { inspect } }, 'GET', '/containers/json?limit=2');
  expect(JSON.parse(text).map(({ Image }: { Image: string }) => Image)).toEqual(['busybox', 'sha256:old']);
});

test('a stream that fails ends with an error line', async () => {
  async function* load() {
    yield { stream: 'Loaded image: a\n' };
    throw new TareError('InvalidArgument', 'truncated archive');
  }
  const { status, text } = await ask({ images: { load } }, 'POST', '/images/load', 'tar', {});
  expect(status).toBe(200);
  expect(
    text
      .trim()
      .split('\r\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { stream: 'Loaded image: a\n' },
    { errorDetail: { message: 'truncated archive' }, error: 'truncated archive' },
  ]);
});

test('a stream that fails before it begins is an error', async () => {
  // biome-ignore lint/correctness/useYield: it fails before there is anything to yield
  async function* load(): AsyncGenerator<never> {
    throw new TareError('InvalidArgument', 'no archive');
  }
  expect((await ask({ images: { load } }, 'POST', '/images/load', 'tar', {})).status).toBe(400);
});

test.each([
  ['a terminal', true, 51, 'application/vnd.docker.raw-stream'],
  ['no terminal', false, 51, 'application/vnd.docker.multiplexed-stream'],
  ['no terminal, before 1.42', false, 41, 'application/vnd.docker.raw-stream'],
])('logs of %s', async (_, tty, version, type) => {
  async function* logs() {
    yield { stream: 'stdout' as const, time: '2023-11-14T22:13:20.000000001Z', line: Buffer.from('a') };
    yield { stream: 'stdout' as const, time: '2023-11-14T22:13:20.000000002Z', line: Buffer.from('b\n') };
  }
  const inspect = async () => view({ config: { ...view().config, tty } });
  const target = `/v1.${version}/containers/x/logs?stdout=1&timestamps=1`;
  const answer = await ask({ containers: { inspect, logs } }, 'GET', target);
  expect(answer.type).toBe(type);
  const rest = tty ? 'b\n' : '\x01\0\0\0\0\0\0\x02b\n';
  expect(answer.text.endsWith(`2023-11-14T22:13:20.000000001Z a${rest}`)).toBe(true);
});

test('logs of no stream are refused', async () => {
  const { status, text } = await ask({}, 'GET', '/containers/x/logs');
  expect(status).toBe(400);
  expect(JSON.parse(text).message).toBe('Bad parameters: you must choose at least one stream');
});

test('stats once: two samples, so that there is a percentage', async () => {
  async function* stats() {
    for (const usageNs of [1, 2]) {
      yield {
        cpu: { usageNs, perCpuNs: [] },
        memory: {},
        pids: {},
        blockIO: [],
        networks: {},
        readMs: usageNs,
      } as never;
    }
  }
  const given = { containers: { inspect: async () => view(), stats } };
  const { text } = await ask(given, 'GET', '/containers/x/stats?stream=0');
  expect(JSON.parse(text)).toMatchObject({
    cpu_stats: { cpu_usage: { total_usage: 2 } },
    precpu_stats: { cpu_usage: { total_usage: 1 } },
  });
  const once = await ask(given, 'GET', '/containers/x/stats?stream=0&one-shot=1');
  expect(JSON.parse(once.text)).toMatchObject({ cpu_stats: { cpu_usage: { total_usage: 1 } } });
});

test.each([
  ['GET', '/nodes', 503, /^This node is not a swarm manager/],
  ['POST', '/swarm/init', 501, /swarm mode/],
])('%s %s says that it is not there', async (method, path, want, message) => {
  const { status, text } = await ask({}, method, path);
  expect(status).toBe(want);
  expect(JSON.parse(text).message).toMatch(message);
});

test('a document that comes drop by drop is waited for a minute', async () => {
  vi.useFakeTimers();
  try {
    const body = (async function* () {
      yield Buffer.from('{');
      await new Promise(() => {});
    })();
    const handled = createApi(fakeEngine({}), { version: '' }).handle({
      ...{ method: 'POST', path: '/containers/create', query: new URLSearchParams(), body },
      headers: { 'content-type': 'application/json' },
      signal: new AbortController().signal,
    });
    await vi.advanceTimersByTimeAsync(60_000);
    const response = await handled;
    expect(response.status).toBe(400);
    expect(Buffer.from(response.body as Uint8Array).toString()).toContain('not complete after 60 seconds');
  } finally {
    vi.useRealTimers();
  }
});

test.each([
  ['GET', '/_ping', false],
  ['HEAD', '/v1.44/_ping', false],
  ['DELETE', '/images/far/_ping', true],
  ['GET', '/nothing/_ping', true],
])('%s %s is told in the audit log: %s', async (method, path, want) => {
  const told: string[] = [];
  const api = createApi(fakeEngine({}), { version: '', audit: ({ route }) => told.push(route) });
  const request = { method, path, query: new URLSearchParams(), headers: {}, body: (async function* () {})() };
  await api.handle({ ...request, signal: new AbortController().signal });
  expect(told.length === 1).toBe(want);
});

test('which requests may take over their connection', () => {
  const api = createApi(fakeEngine({}), { version: '' });
  expect(api.hijacks('POST', '/v1.51/containers/x/attach')).toBe(true);
  expect(api.hijacks('POST', '/exec/x/start')).toBe(true);
  expect(api.hijacks('POST', '/containers/x/start')).toBe(false);
  expect(api.hijacks('POST', '/v9.9/containers/x/attach')).toBe(false);
});
