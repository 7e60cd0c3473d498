import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { queryObjects } from 'node:v8';
import { gunzipSync, inflateSync } from 'node:zlib';
import { decodeMulti, type ExtData, encode } from '@msgpack/msgpack';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { chosenAttributes, type LogSource, parseTag } from './description.ts';
import { fieldName } from './journald.ts';
import { shippedLines } from './lines.ts';
import { openSink, requireCollector } from './open-sink.ts';
import { checkShippingOptions, type ShippingDriver } from './options.ts';
import { ship } from './shipment.ts';
import type { ShippedLine } from './sink.ts';

const source: LogSource = {
  id: 'a'.repeat(64),
  name: 'web',
  imageId: `sha256:${'b'.repeat(64)}`,
  imageName: 'nginx:1',
  command: ['nginx', '-g', 'x'],
  createdMs: Date.parse('2026-01-02T03:04:05Z'),
  labels: { team: 'blue', 'com.example/part': 'front' },
  env: ['STAGE=prod', 'EMPTY='],
};
const time = '2026-01-02T03:04:05.123456789Z';
const line = (text: string, stream: 'stdout' | 'stderr' = 'stdout'): ShippedLine => ({
  stream,
  time,
  text: Buffer.from(text),
});

let resources: AsyncDisposableStack;
beforeEach(() => {
  resources = new AsyncDisposableStack();
});
afterEach(() => resources[Symbol.asyncDispose]());

/** A UDP receiver on loopback. */
async function udp(): Promise<{ port: number; received: Buffer[] }> {
  const received: Buffer[] = [];
  const socket = createSocket('udp4').on('message', (message) => received.push(message));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  resources.defer(() => void socket.close());
  return { port: socket.address().port, received };
}

/** A TCP or unix receiver. */
async function stream(at: { path: string } | { port: number; host: string } = { port: 0, host: '127.0.0.1' }) {
  const state = {
    port: 0,
    text: Buffer.alloc(0) as Buffer,
    sockets: [] as Socket[],
    answer: (_: Buffer): Buffer | undefined => undefined,
  };
  const server = createServer((socket) => {
    state.sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      state.text = Buffer.concat([state.text, chunk]);
      const answer = state.answer(chunk);
      if (answer !== undefined) socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(at, resolve));
  resources.defer(() => {
    for (const socket of state.sockets) socket.destroy();
    server.close();
  });
  if ('port' in at) state.port = (server.address() as AddressInfo).port;
  return state;
}

async function sent(driver: ShippingDriver, options: Record<string, string>, ...lines: ShippedLine[]): Promise<void> {
  const sink = resources.use(openSink(driver, source, options));
  await sink.send(lines);
}

describe('syslog', () => {
  test.each([
    { format: {}, want: /^<30>Jan {2}2 \d\d:04:05 aaaaaaaaaaaa\[\d+\]: hello$/ },
    { format: { 'syslog-format': 'rfc3164' }, want: /^<30>Jan {2}2 \d\d:04:05 \S+ aaaaaaaaaaaa\[\d+\]: hello$/ },
    {
      format: { 'syslog-format': 'rfc5424' },
      want: /^<30>1 2026-01-02T03:04:05Z \S+ aaaaaaaaaaaa \d+ aaaaaaaaaaaa - hello$/,
    },
    {
      format: { 'syslog-format': 'rfc5424micro', tag: 'x/{{.Name}}', 'syslog-facility': 'local7' },
      want: /^<190>1 2026-01-02T03:04:05.123456Z \S+ x\/web \d+ x\/web - hello$/,
    },
  ])('by UDP: $format', async ({ format, want }) => {
    const { port, received } = await udp();
    await sent(
      'syslog',
      { 'syslog-address': `udp://127.0.0.1:${port}`, ...(format as Record<string, string>) },
      line('hello'),
    );
    await expect.poll(() => received.length).toBe(1);
    expect(String(received[0])).toMatch(want);
  });

  test('by TCP: a line each, errors more severe, and the lines again after the connection broke', async () => {
    const receiver = await stream();
    const sink = resources.use(
      openSink('syslog', source, { 'syslog-address': `tcp://127.0.0.1:${receiver.port}`, tag: 't' }),
    );
    await sink.send([line('one'), line('two', 'stderr')]);
    await expect.poll(() => String(receiver.text)).toMatch(/^<30>.* t\[\d+\]: one\n<27>.* t\[\d+\]: two\n$/);
    receiver.sockets[0]?.destroy();
    await expect
      .poll(async () => {
        await sink.send([line('again')]).catch(() => undefined);
        return String(receiver.text);
      })
      .toContain(': again\n');
  });

  test('by a unix socket, and where none listens', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tare-syslog-'));
    resources.defer(() => rmSync(folder, { recursive: true }));
    const receiver = await stream({ path: join(folder, 'log') });
    const options = { 'syslog-address': `unix://${join(folder, 'log')}` };
    await sent('syslog', options, line('by path'));
    await expect.poll(() => String(receiver.text)).toContain(': by path\n');
    await expect(requireCollector('syslog', source, { 'syslog-address': 'tcp://127.0.0.1:9' })).rejects.toThrow(
      /^dial tcp 127\.0\.0\.1:9: .*ECONNREFUSED/,
    );
  });
});

describe('gelf', () => {
  const options = { labels: 'team', 'env-regex': '^ST' };

  test.each([
    { compression: 'gzip', unpack: gunzipSync },
    { compression: 'zlib', unpack: inflateSync },
    { compression: 'none', unpack: (bytes: Buffer) => bytes },
  ])('by UDP, $compression', async ({ compression, unpack }) => {
    const { port, received } = await udp();
    await sent(
      'gelf',
      { 'gelf-address': `udp://127.0.0.1:${port}`, 'gelf-compression-type': compression, ...options },
      line('hello', 'stderr'),
    );
    await expect.poll(() => received.length).toBe(1);
    expect(JSON.parse(String(unpack(received[0]!)))).toEqual({
      version: '1.1',
      host: expect.any(String),
      short_message: 'hello',
      timestamp: 1767323045.123,
      level: 3,
      _team: 'blue',
      _STAGE: 'prod',
      _container_id: source.id,
      _container_name: 'web',
      _image_id: source.imageId,
      _image_name: 'nginx:1',
      _command: 'nginx -g x',
      _tag: 'aaaaaaaaaaaa',
      _created: '2026-01-02T03:04:05.000Z',
    });
  });

  test('what is too long for a datagram comes in chunks', async () => {
    const { port, received } = await udp();
    await sent(
      'gelf',
      { 'gelf-address': `udp://127.0.0.1:${port}`, 'gelf-compression-type': 'none' },
      line('x'.repeat(5000)),
    );
    await expect.poll(() => received.length).toBe(4);
    const parts = received.toSorted((a, b) => a[10]! - b[10]!);
    expect(parts.map((part) => [part.readUInt16BE(0), part[10], part[11]])).toEqual(
      [0, 1, 2, 3].map((at) => [0x1e0f, at, 4]),
    );
    expect(new Set(parts.map((part) => part.toString('hex', 2, 10))).size).toBe(1);
    expect(JSON.parse(Buffer.concat(parts.map((part) => part.subarray(12))).toString()).short_message).toHaveLength(
      5000,
    );
  });

  test('by TCP, ended by a zero byte', async () => {
    const receiver = await stream();
    await sent('gelf', { 'gelf-address': `tcp://127.0.0.1:${receiver.port}` }, line('one'), line('two'));
    await expect.poll(() => String(receiver.text).split('\0').length).toBe(3);
    expect(
      String(receiver.text)
        .split('\0')
        .slice(0, 2)
        .map((text) => JSON.parse(text).short_message),
    ).toEqual(['one', 'two']);
  });
});

describe('fluentd', () => {
  test('records with tag, time and what the container is', async () => {
    const receiver = await stream();
    await sent(
      'fluentd',
      { 'fluentd-address': `127.0.0.1:${receiver.port}`, tag: 'docker.{{.Name}}', labels: 'team' },
      line('hello'),
    );
    await expect.poll(() => receiver.text.length).toBeGreaterThan(0);
    expect([...decodeMulti(receiver.text)]).toEqual([
      [
        'docker.web',
        [
          [
            1767323045,
            { container_id: source.id, container_name: '/web', source: 'stdout', log: 'hello', team: 'blue' },
          ],
        ],
        {},
      ],
    ]);
  });

  test('nanoseconds, and an acknowledgement that is waited for', async () => {
    const receiver = await stream();
    receiver.answer = (chunk) => {
      const [[, , option]] = [...decodeMulti(chunk)] as [[string, unknown, { chunk: string }]];
      return Buffer.from(encode({ ack: option.chunk }));
    };
    const options = {
      'fluentd-address': `127.0.0.1:${receiver.port}`,
      'fluentd-sub-second-precision': 'true',
      'fluentd-request-ack': 'true',
    };
    await sent('fluentd', options, line('hello'));
    const [[, [[at]]]] = [...decodeMulti(receiver.text)] as [[string, [[ExtData]]]];
    expect(at.type).toBe(0);
    expect(Buffer.from(at.data as Uint8Array).toString('hex')).toBe('695735a5075bcd15');
  });

  test('another acknowledgement is none', async () => {
    const receiver = await stream();
    receiver.answer = () => Buffer.from(encode({ ack: 'something' }));
    const options = { 'fluentd-address': `127.0.0.1:${receiver.port}`, 'fluentd-request-ack': 'true' };
    await expect(sent('fluentd', options, line('hello'))).rejects.toThrow('acknowledged something else');
  });

  test('a collector that is away stops a start, unless it need not be there', async () => {
    await expect(requireCollector('fluentd', source, { 'fluentd-address': '127.0.0.1:9' })).rejects.toThrow(
      '127.0.0.1:9',
    );
    await requireCollector('fluentd', source, { 'fluentd-address': '127.0.0.1:9', 'fluentd-async': 'true' });
  });
});

test('long lines come in parts, and no character is cut', () => {
  const text = `${'x'.repeat(16 * 1024 - 1)}${'€'.repeat(6000)}\n`;
  const parts = [...shippedLines({ stream: 'stdout', time, line: Buffer.from(text) }, () => 'id')];
  expect(parts.map(({ part }) => part)).toEqual([
    { id: 'id', ordinal: 1, isLast: false },
    { id: 'id', ordinal: 2, isLast: false },
    { id: 'id', ordinal: 3, isLast: true },
  ]);
  expect(parts.map((part) => Buffer.from(part.text).toString()).join('')).toBe(text.slice(0, -1));
  for (const part of parts) expect(Buffer.from(part.text).toString()).not.toContain('\uFFFD');
});

test('tags', () => {
  expect(parseTag()(source)).toBe('aaaaaaaaaaaa');
  expect(parseTag('{{ .ImageName }}/{{.Name}}/{{.ImageID}}')(source)).toBe('nginx:1/web/bbbbbbbbbbbb');
  expect(() => parseTag('{{.Nme}}')).toThrow('{{.Nme}} is none of {{.ID}}');
  expect(() => parseTag('{{if .Name}}x{{end}}')).toThrow('is none of');
});

test('labels and variables by name and by expression; an image cannot make lines grow without end', () => {
  expect(chosenAttributes({ labels: 'team,none', 'labels-regex': 'example', env: 'EMPTY' })(source)).toEqual([
    ['team', 'blue'],
    ['com.example/part', 'front'],
    ['EMPTY', ''],
  ]);
  const labels = Object.fromEntries(Array.from({ length: 500 }, (_, at) => [`label${at}`, 'v'.repeat(100_000)]));
  const chosen = chosenAttributes({ 'labels-regex': '.' })({ ...source, labels });
  expect(chosen).toHaveLength(64);
  expect(chosen[0]?.[1]).toHaveLength(4096);
});

test('names of journal fields', () => {
  expect(['team', 'com.example/part', '_PID', '9lives', '__'].map(fieldName)).toEqual([
    'TEAM',
    'COM_EXAMPLE_PART',
    'PID',
    'LIVES',
    '',
  ]);
});

test.each<[ShippingDriver, Record<string, string>, string]>([
  ['syslog', { 'syslog-address': 'http://x' }, 'want udp://, tcp://'],
  ['syslog', { 'syslog-address': 'unix:///does/not/exist' }, 'no socket at /does/not/exist'],
  ['syslog', { 'syslog-facility': 'local8' }, 'invalid syslog facility: local8'],
  ['syslog', { 'syslog-format': 'rfc9' }, 'Invalid syslog format'],
  ['syslog', { 'syslog-address': 'tcp+tls://h', 'syslog-tls-ca-cert': '/does/not/exist' }, 'syslog-tls-ca-cert'],
  ['gelf', {}, 'gelf-address: is a required parameter'],
  ['gelf', { 'gelf-address': 'udp://host' }, 'want udp://HOST:PORT'],
  ['gelf', { 'gelf-address': 'tcp://host:1', 'gelf-compression-type': 'gzip' }, 'only supported on UDP'],
  ['gelf', { 'gelf-address': 'udp://host:1', 'gelf-compression-level': '10' }, 'want -1 to 9'],
  ['fluentd', { 'fluentd-address': 'udp://x:1' }, 'want tcp://, tls://, unix://'],
  ['fluentd', { 'fluentd-retry-wait': 'soon' }, 'invalid duration "soon"'],
  ['fluentd', { 'fluentd-async': 'perhaps' }, 'want true or false'],
  ['journald', { 'env-regex': '(' }, 'env-regex'],
])('%s %j is refused', (driver, options, words) => {
  expect(() => checkShippingOptions(driver, options)).toThrow(words);
});

test('a collector that no route leads to is asked again, not taken for one that listens', async () => {
  // Broadcasts are forbidden to a socket that did not ask for them: the connect fails at once.
  const sink = openSink('gelf', source, { 'gelf-address': 'udp://255.255.255.255:12201' });
  resources.use(sink);
  await expect(sink.connect()).rejects.toThrow(/dial udp 255\.255\.255\.255:12201: /);
  await expect(sink.send([line('x')])).rejects.toMatchObject({ kind: 'Unavailable' });
});

test('files of TLS are regular ones, and small', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-pem-'));
  resources.defer(() => rmSync(folder, { recursive: true }));
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [pipe, '/dev/zero', folder]) {
    const options = { 'syslog-address': 'tcp+tls://127.0.0.1:1', 'syslog-tls-ca-cert': path };
    expect(() => checkShippingOptions('syslog', options)).toThrow(/syslog-tls-ca-cert: .*no regular file/);
  }
});

test('what was sent leaves nothing behind in memory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-ship-'));
  resources.defer(() => rmSync(folder, { recursive: true }));
  const logPath = join(folder, 'container.log');
  const batches = 100;
  writeFileSync(logPath, `${time} stdout F ${'x'.repeat(1000)}\n`.repeat(260 * batches));
  let sent = 0;
  const sink = {
    connect: async () => {},
    send: async () => {
      sent += 1;
    },
    async [Symbol.asyncDispose]() {},
  };
  const stop = new AbortController();
  const promises = () => queryObjects(Promise, { format: 'count' });
  const before = promises();
  await ship({
    ...{ logPath, cursorPath: join(folder, 'cursor'), sink, stop: stop.signal, ended: AbortSignal.abort() },
    report: (error) => expect(error).toBeUndefined(),
  });
  expect(sent).toBeGreaterThanOrEqual(batches);
  expect(promises() - before).toBeLessThan(batches / 2);
  stop.abort();
});
