import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Buildx } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { Compose } from '../support/compose.ts';
import { olderDockerClient } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

const project = `services:
  web:
    image: web:built
    build:
      context: app
      target: base
      args: { WHO: compose }
      labels: { kind: composed }
      secrets: [value]
      ssh: [default]
      additional_contexts: { more: ./more }
      shm_size: 16m
      extra_hosts: ["far:192.0.2.9"]
      tags: ["web:extra"]
      platforms: [linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}]
  above:
    image: above:built
    build:
      dockerfile_inline: |
        FROM web
        RUN --mount=type=secret,id=value wc -c < /run/secrets/value > /length
      additional_contexts: { web: "service:web" }
      secrets: [value]
  plain:
    build: { context: app, target: base }
secrets:
  value: { file: ./value }
`;

describe('compose build', { ...shows({ client: 'docker compose' }), timeout: 240_000 }, () => {
  const engine = withEngine();
  let compose: Compose;
  const inImage = async (image: string, command: string): Promise<string> =>
    (await engine().docker(['run', '--rm', '--network=none', image, 'sh', '-c', command])).stdout;

  beforeAll(async () => {
    const folder = new Buildx(engine()).folder({
      'compose.yaml': project,
      'app/Dockerfile': `FROM busybox:test AS base
ARG WHO=nobody
RUN --mount=type=ssh test -z "$SSH_AUTH_SOCK" || echo an agent > /agent
RUN echo "who $WHO" > /who; grep far /etc/hosts >> /who || true
FROM base AS final
COPY --from=more /file /file
`,
      'more/file': 'of a context\n',
      value: 'eleven byte',
    });
    const agent = join(folder, 'agent.sock');
    engine().spawn(['ssh-agent', '-D', '-a', agent]);
    compose = new Compose(engine(), folder, { SSH_AUTH_SOCK: agent });
    await eventually('the agent listens', async () => {
      const env = { SSH_AUTH_SOCK: agent };
      return (await engine().run(['ssh-add', '-l'], { env, expect: 'any' })).code === 1;
    });
  });

  test('build of several services, one on another’s image, with a secret, an agent, contexts and hosts', async () => {
    const { stderr } = await compose.run(['build']);
    expect(stderr).not.toContain('failed to solve');
    expect(await inImage('web:extra', 'cat /who /agent')).toMatch(/^who compose\n192\.0\.2\.9\s+far\nan agent\n$/);
    expect(await inImage('above:built', 'cat /who /length')).toMatch(/^who compose\n.*\n11\n$/);
    const { stdout } = await engine().docker(['inspect', '-f', '{{.Config.Labels.kind}}', 'web:built']);
    expect(stdout).toBe('composed\n');
  });

  test('build of one service with other arguments, and up --build', async () => {
    await compose.run(['build', '--no-cache', '--build-arg', 'WHO=me', 'plain']);
    await compose.run(['up', '--build', '--detach', '--no-deps', 'plain']);
    expect((await compose.run(['run', '--rm', '--no-deps', 'plain', 'cat', '/who'])).stdout).toBe('who nobody\n');
    await compose.run(['down']);
  });

  test('a failing build of a service tells the step', async () => {
    const failing = new Buildx(engine()).folder({
      'compose.yaml':
        'services:\n  bad:\n    build:\n      dockerfile_inline: |\n        FROM busybox:test\n        RUN exit 5\n',
    });
    const { stderr, stdout } = await new Compose(engine(), failing).run(['build'], { expect: 1 });
    expect(`${stdout}${stderr}`).toContain('process "/bin/sh -c exit 5" did not complete successfully: exit code: 5');
  });

  test('build with compose 2.26 and a builder of its own', async () => {
    const plugin = join(olderDockerClient, 'usr/libexec/docker/cli-plugins/docker-compose');
    const env = { ...engine().clientEnvironment, SSH_AUTH_SOCK: join(compose.folder, 'agent.sock') };
    const how = { cwd: compose.folder, env, timeoutMs: 120_000 };
    await engine().run([plugin, '--progress', 'plain', 'build', '--no-cache', '--build-arg', 'WHO=old', 'web'], how);
    expect(await inImage('web:built', 'cat /who /agent')).toMatch(/^who old\n.*\nan agent\n$/);
  });
});
