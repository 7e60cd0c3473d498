import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openBuildApi } from '../../src/api/buildkit/index.ts';
import { listenForBuilds } from '../../src/api/buildkit/socket/index.ts';
import type {
  BuildRequest,
  BuildResult,
  FrontendBridge,
  FrontendResult,
  ProgressSink,
  SentEntry,
} from '../../src/build/index.ts';
import { SourceError } from '../../src/build/source-error.ts';
import type { BuildService } from '../../src/engine/index.ts';
import { TareError } from '../../src/errors/index.ts';
import { dockerClient } from '../support/engine.ts';
import { execute } from '../support/execute.ts';

/**
 * Docker's own buildx against BuildKit's services, where the builder is a small one: its frontend reads what the Dockerfile says to read
 * from the client's session, and its exporters send a known tree.
 */
const folder = mkdtempSync(join(tmpdir(), 'buildx-wire-'));
const socket = join(folder, 'buildkitd.sock');
const config = join(folder, 'config');
const context = join(folder, 'context');
const plugin = join(dockerClient, 'usr/libexec/docker/cli-plugins/docker-buildx');
const vertex = `sha256:${'1'.repeat(64)}`;
const seen = { requests: [] as BuildRequest[], lines: [] as string[], cancelled: 0 };

const tree: SentEntry[] = [
  { path: 'd', mode: 0o40755, uid: 0, gid: 0, sizeBytes: 0, modifiedNs: 0n },
  { path: 'd/f', mode: 0o100644, uid: 0, gid: 0, sizeBytes: 5, modifiedNs: 1_700_000_000_000_000_000n },
  { path: 'l', mode: 0o120777, uid: 0, gid: 0, sizeBytes: 0, modifiedNs: 0n, linkname: 'd/f' },
];

async function read(request: BuildRequest, name: string, signal: AbortSignal): Promise<Map<string, string>> {
  await using sent = await request.session.folder(name, {}, signal);
  const entries: SentEntry[] = [];
  for await (const entry of sent.entries) entries.push(entry);
  const files = new Map<string, string>();
  const contents = entries.map(async (entry, index) => {
    if ((entry.mode & 0o170000) !== 0o100000) return;
    const pieces: Uint8Array[] = [];
    for await (const piece of sent.read(index)) pieces.push(piece);
    files.set(entry.path, Buffer.concat(pieces).toString());
  });
  await Promise.all(contents);
  return files;
}

const commands: Record<string, (request: BuildRequest, argument: string, signal: AbortSignal) => Promise<unknown>> = {
  context: async (request, _argument, signal) => {
    const files = await read(request, 'context', signal);
    seen.lines.push(`${files.size} files, ${[...files.values()].reduce((sum, text) => sum + text.length, 0)} bytes`);
  },
  secret: async ({ session }, id) => seen.lines.push(Buffer.from(await session.secret(id)).toString()),
  fail: async (_request, text) => {
    throw new SourceError('InvalidArgument', text, {
      ranges: [{ start: { line: 1, character: 0 }, end: { line: 1, character: 4 } }],
      source: { filename: 'Dockerfile', data: Buffer.from(`fail ${text}\nsecond line\n`), language: 'Dockerfile' },
    });
  },
  wait: (_request, _argument, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        seen.cancelled++;
        reject(new TareError('Unavailable', 'cancelled'));
      });
    }),
};

async function solve(request: BuildRequest, progress: ProgressSink, signal: AbortSignal): Promise<BuildResult> {
  seen.requests.push(request);
  const bridge: FrontendBridge = {
    options: request.frontendOptions ?? {},
    inputs: new Map(),
    sessionID: request.session.id,
    platforms: [{ os: 'linux', architecture: 'amd64' }],
    signal,
    resolveImageConfig: async (ref) => ({ ref, digest: vertex, config: Buffer.from('{}') }),
    warn: () => {},
    async solve() {
      const state = {
        digest: vertex,
        inputs: [],
        name: '[internal] the small builder',
        isCached: false,
        startedMs: Date.now(),
      };
      progress({ vertices: [state] });
      const file = (await read(request, 'dockerfile', signal)).get('Dockerfile') ?? '';
      progress({ logs: [{ vertex, timestampMs: Date.now(), stream: 1, bytes: Buffer.from(`it says ${file}`) }] });
      for (const line of file.trim().split('\n')) {
        const [command = '', ...words] = line.split(' ');
        await commands[command]?.(request, words.join(' '), signal);
      }
      progress({ vertices: [{ ...state, completedMs: Date.now() }] });
      return { refs: new Map(), metadata: new Map(), attestations: new Map() } satisfies FrontendResult;
    },
  };
  await request.drive?.(bridge);
  for (const [index, { type }] of request.exporters.entries()) {
    if (type === 'local') {
      const contents = (at: number) =>
        (async function* () {
          yield Buffer.from(tree[at]!.path === 'd/f' ? 'hello' : '');
        })();
      const entries = (async function* () {
        yield* tree;
      })();
      const sent = { entries, read: contents, async [Symbol.asyncDispose]() {} };
      await request.session.sendFolder(String(index), sent, signal);
    } else if (type === 'tar') {
      await using sink = await request.session.fileSink(String(index), {});
      await sink.write(Buffer.alloc(3_000_000, 'a'));
      await sink.close();
    }
  }
  return { exporterResponse: { 'containerimage.digest': vertex }, metadata: new Map() };
}

const builds = {
  solve,
  usage: async () => [
    {
      ...{ id: 'record', parents: [], recordType: 'regular', description: 'a step', sizeBytes: 1_000, createdMs: 0 },
      ...{ lastUsedMs: undefined, usageCount: 1, isMutable: false, isInUse: false, isShared: false },
    },
  ],
  async *prune() {
    yield* await this.usage();
  },
  build: async () => {
    throw new TareError('Unsupported', 'not by buildx');
  },
} satisfies BuildService;

const stack = new AsyncDisposableStack();
beforeAll(async () => {
  const api = stack.use(await openBuildApi(builds, { version: '0' }));
  stack.use(await listenForBuilds(socket, (connection) => api.serve(connection)));
  mkdirSync(config);
  mkdirSync(context);
  await buildx(['create', '--name', 'tare', '--driver', 'remote', `unix://${socket}`]);
});
afterAll(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true, force: true });
});

const environment = { DOCKER_CONFIG: config, BUILDX_BUILDER: 'tare' };
const buildx = (args: readonly string[], code = 0) =>
  execute([plugin, ...args], { env: environment, cwd: folder, expect: code });
const build = (args: readonly string[], code = 0) => buildx(['build', '--progress', 'plain', ...args, context], code);

const dockerfile = (text: string) => writeFileSync(join(context, 'Dockerfile'), text);

test('buildx is its own frontend, and asks this end for what the Dockerfile needs', async () => {
  dockerfile('nothing');
  const { stderr } = await build(['--build-arg', 'A=b', '--label', 'x=y', '--allow', 'network.host']);
  expect(stderr).toContain('[internal] the small builder');
  expect(stderr).toMatch(/it says nothing/);
  const request = seen.requests.at(-1)!;
  expect(request.entitlements).toContain('network.host');
  expect(request.drive).toBeDefined();
});

test('folders of many files come whole', async () => {
  const many = join(context, 'many');
  mkdirSync(many);
  for (let at = 0; at < 300; at++) writeFileSync(join(many, `f${at}`), 'x'.repeat(at * 500));
  dockerfile('context');
  await build([]);
  rmSync(many, { recursive: true });
  expect(seen.lines.at(-1)).toBe(`301 files, ${(299 * 300 * 500) / 2 + 'context'.length} bytes`);
});

test('a secret is asked of the client', async () => {
  writeFileSync(join(folder, 'value'), 'of the client');
  dockerfile('secret id');
  await build(['--secret', `id=id,src=${join(folder, 'value')}`]);
  expect(seen.lines.at(-1)).toBe('of the client');
  const { stderr } = await build([], 1);
  expect(stderr).toContain('failed to solve: secret id: not found');
});

test('a failure names its line', async () => {
  dockerfile('fail it went wrong\nsecond line');
  const { stderr } = await build([], 1);
  expect(stderr).toContain('   1 | >>> fail it went wrong');
  expect(stderr).toMatch(/failed to solve: it went wrong/);
});

test('results go to the client: a folder, and a file', async () => {
  dockerfile('nothing');
  const out = join(folder, 'out');
  await build(['--output', out]);
  expect(readFileSync(join(out, 'd/f'), 'utf8')).toBe('hello');
  expect(statSync(join(out, 'd/f')).mtimeMs).toBe(1_700_000_000_000);
  expect(readlinkSync(join(out, 'l'))).toBe('d/f');
  await build(['--output', `type=tar,dest=${out}.tar`]);
  expect(readFileSync(`${out}.tar`).equals(Buffer.alloc(3_000_000, 'a'))).toBe(true);
});

test('a client that gives up cancels its build', async () => {
  dockerfile('wait');
  const child = spawn(plugin, ['build', '--progress', 'plain', context], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await vi.waitFor(() => expect(said).toContain('it says wait'), { timeout: 30_000 });
  child.kill('SIGINT');
  await ended;
  await vi.waitFor(() => expect(seen.cancelled).toBe(1), { timeout: 30_000 });
});

test('what the cache holds is listed, and removed', async () => {
  expect((await buildx(['du'])).stdout).toContain('record');
  expect((await buildx(['prune', '--force'])).stdout).toContain('record');
  expect((await buildx(['inspect'])).stdout).toContain('linux/');
});
