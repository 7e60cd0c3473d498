import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type BuildkitClient, buildkitClient } from '../support/buildkit-client.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

/** What buildctl asks over BuildKit's own socket; Debian has no package of it. */
describe('BuildKit’s calls', () => {
  const engine = withEngine();
  let client: BuildkitClient;
  beforeAll(() => {
    client = buildkitClient(join(engine().execRoot, 'buildkitd.sock'));
  });

  test('who serves, and in what health', async () => {
    expect((await client.control.info({})).buildkitVersion?.package).toBe('tare');
    const { record } = await client.control.listWorkers({});
    expect(record[0]?.platforms[0]).toMatchObject({ OS: 'linux' });
    expect(record[0]?.GCPolicy).not.toEqual([]);
    expect((await client.health.check({})).status).toBe(1);
    expect((await client.health.list({})).statuses['']?.status).toBe(1);
    await client.trace.export({});
  });

  test('a build by the frontend’s name, with its progress afterwards', async () => {
    const served = join(engine().root, 'served');
    mkdirSync(served);
    writeFileSync(join(served, 'Dockerfile'), 'FROM busybox:test\nARG WHO\nRUN echo hello $WHO > /f\n');
    engine().spawn(['busybox', 'httpd', '-f', '-p', '127.0.0.1:18098', '-h', served]);
    const context = 'http://127.0.0.1:18098/Dockerfile';
    await eventually('the server answers', async () => {
      const { code } = await engine().run(['curl', '--fail', '--silent', context], { expect: 'any' });
      return code === 0;
    });
    const { ExporterResponse: told } = await client.control.solve({
      Ref: 'by-hand',
      Frontend: 'dockerfile.v0',
      FrontendAttrs: { context, 'build-arg:WHO': 'you' },
      Exporters: [{ Type: 'image', Attrs: { name: 'by-hand:1' } }],
    });
    expect(told['image.name']).toBe('by-hand:1');
    const { stdout } = await engine().docker(['run', '--rm', '--network=none', 'by-hand:1', 'cat', '/f']);
    expect(stdout).toBe('hello you\n');
    const names: string[] = [];
    for await (const { vertexes } of client.control.status({ Ref: 'by-hand' }))
      names.push(...vertexes.map(({ name }) => name));
    expect(names).toContain('[2/2] RUN echo hello you > /f');
  });

  test('a build whose session breaks fails with that', async () => {
    const broken = new AbortController();
    const silence = (async function* () {
      await once(broken.signal, 'abort');
      yield { data: new Uint8Array() };
    })();
    const headers = { 'x-docker-expose-session-uuid': 'breaks' };
    const session = (async () => {
      for await (const _ of client.control.session(silence, { headers, signal: broken.signal }));
    })().catch(() => undefined);
    // With neither a frontend nor a graph, it waits for what its client will say.
    const failed = expect(client.control.solve({ Ref: 'left-alone', Session: 'breaks' })).rejects.toThrow(
      'the session of the client has ended',
    );
    await eventually('it runs', async () => {
      for await (const _ of client.control.listenBuildHistory({ Ref: 'left-alone', EarlyExit: true })) return true;
      return false;
    });
    broken.abort();
    await Promise.all([failed, session]);
  });

  test('the progress of a build that is refused ends with it, asked for before or after', async () => {
    const told = async () => {
      for await (const _ of client.control.status({ Ref: 'a b' })) throw new Error('it said something');
    };
    const early = told();
    await expect(client.control.solve({ Ref: 'a b', Frontend: 'dockerfile.v0' })).rejects.toThrow(/invalid name "a b"/);
    await early;
    await told();
  });

  test('bad input is refused', async () => {
    const blob = `sha256:${'0'.repeat(64)}`;
    const first = (stream: AsyncIterable<unknown>) => stream[Symbol.asyncIterator]().next();
    await expect(first(client.content.read({ digest: '../x' }))).rejects.toThrow(/invalid digest "..\/x"/);
    await expect(client.content.info({ digest: blob })).rejects.toMatchObject({ code: 5 });
    await expect(client.content.delete({ digest: blob })).rejects.toMatchObject({ code: 12 });
    await expect(client.control.solve({ Frontend: 'dockerfile.v0' })).rejects.toThrow(/without a Ref/);
    await expect(client.control.updateBuildHistory({ Ref: 'none', Delete: true })).rejects.toThrow(/no record/);
    const policy = { rules: [{ action: 0, selector: { identifier: '[', matchType: 2 } }] };
    await expect(
      client.control.solve({ Ref: 'policy', Frontend: 'dockerfile.v0', SourcePolicy: policy }),
    ).rejects.toThrow(/invalid source policy selector "\["/);
  });
});
