import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Buildx, buildxVersions } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { withEngine } from '../support/faces.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';

const definition = `variable "TAG" {
  default = "v0"
}
variable "WORDS" {
  default = ["a", "b"]
}
function "tagged" {
  params = [name]
  result = "\${name}:\${TAG}"
}
group "default" {
  targets = ["app", "words"]
}
target "common" {
  context = "app"
  args = { WHO = "common" }
  labels = { made = "bake" }
}
target "dependency" {
  context = "dependency"
}
target "app" {
  inherits = ["common"]
  contexts = { dependency = "target:dependency" }
  target = "final"
  tags = [tagged("app")]
}
target "words" {
  name = "word-\${item}"
  matrix = { item = WORDS }
  inherits = ["common"]
  target = "base"
  args = { WHO = item }
  tags = [tagged(item)]
}
`;

describe('bake', { ...shows({ client: 'docker buildx' }), timeout: 120_000 }, () => {
  const engine = withEngine();
  const stack = new AsyncDisposableStack();
  let registry: TestRegistry;
  let folder: string;
  const inImage = async (image: string, command: string): Promise<string> =>
    (await engine().docker(['run', '--rm', '--network=none', image, 'sh', '-c', command])).stdout;

  beforeAll(async () => {
    registry = stack.use(await startRegistry());
    stack.use(await tunnel(engine(), registry.port));
    folder = new Buildx(engine()).folder({
      'docker-bake.hcl': definition,
      'app/Dockerfile': `FROM busybox:test AS base
ARG WHO=nobody
RUN echo "who $WHO" > /who
FROM base AS final
COPY --from=dependency /file /file
`,
      'dependency/Dockerfile': 'FROM scratch\nCOPY file /\n',
      'dependency/file': 'of a target\n',
      'bake.json': JSON.stringify({
        target: { json: { context: 'app', target: 'base', tags: [`${registry.address}/json:1`] } },
      }),
      'compose.yaml': `services:
  composed:
    image: composed:1
    build:
      context: app
      target: base
      args: { WHO: composed }
`,
    });
  });
  afterAll(() => stack.disposeAsync());

  test.each(Object.keys(buildxVersions) as (keyof typeof buildxVersions)[])(
    'bake of %s: groups, a matrix, functions, inheritance, and a target as another’s context',
    async (version) => {
      const buildx = new Buildx(engine(), version);
      const TAG = `of-${version}`;
      await buildx.run(['bake', '--progress', 'plain'], { cwd: folder, env: { TAG } });
      expect(await inImage(`app:${TAG}`, 'cat /who /file')).toBe('who common\nof a target\n');
      expect(await inImage(`b:${TAG}`, 'cat /who; test ! -e /file')).toBe('who b\n');
    },
  );

  test('bake --set, --print and --metadata-file', async () => {
    const buildx = new Buildx(engine());
    const printed = JSON.parse((await buildx.run(['bake', '--print', 'app'], { cwd: folder })).stdout);
    expect(printed.target.app).toMatchObject({ tags: ['app:v0'], contexts: { dependency: 'target:dependency' } });
    const set = ['--set', 'app.args.WHO=set', '--set', '*.labels.x=y', '--set', 'app.tags=set:1'];
    const how = ['--progress', 'plain', '--load', '--metadata-file', 'metadata.json'];
    await buildx.run(['bake', ...how, ...set, 'app'], { cwd: folder });
    expect(await inImage('set:1', 'cat /who')).toBe('who set\n');
    const metadata = JSON.parse(readFileSync(join(folder, 'metadata.json'), 'utf8'));
    expect(metadata.app).toMatchObject({ 'image.name': 'set:1', 'buildx.build.provenance': expect.anything() });
    const { stdout } = await engine().docker(['inspect', '-f', '{{json .Config.Labels}}', 'set:1']);
    expect(JSON.parse(stdout)).toEqual({ made: 'bake', x: 'y' });
  });

  test('bake files in JSON, pushed, and compose files', async () => {
    const buildx = new Buildx(engine());
    await buildx.run(['bake', '--progress', 'plain', '-f', 'bake.json', '--push', 'json'], { cwd: folder });
    expect((await registry.request('GET', '/v2/json/tags/list')).body.toString()).toContain('"1"');
    await buildx.run(['bake', '--progress', 'plain', '-f', 'compose.yaml'], { cwd: folder });
    expect(await inImage('composed:1', 'cat /who')).toBe('who composed\n');
  });
});
