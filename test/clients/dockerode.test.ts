import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { TestEngine } from '../support/engine.ts';
import { busyboxEntries } from '../support/image.ts';
import { startRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';
import { cases } from './dockerode.ts';
import { cases as buildCases } from './dockerode-build.ts';
import { cases as imageCases } from './dockerode-images.ts';
import { cases as streamCases } from './dockerode-streams.ts';

/** Of the namespace's own loopback. */
const tcp = 'tcp://127.0.0.1:2375';

describe('dockerode', { ...shows({ client: 'dockerode' }), timeout: 240_000 }, () => {
  let engine: TestEngine;
  let registry = '';
  let privateRegistry = '';
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const server = stack.use(await startRegistry());
    registry = server.address;
    engine = stack.use(await TestEngine.start({ serve: ['-H', tcp, '--insecure-tcp', tcp] }));
    stack.use(await tunnel(engine, server.port));
    const guarded = stack.use(await startRegistry({ auth: { username: 'ann', password: 'secret' } }));
    await guarded.seed('private/base', '1', { layers: [tar(busyboxEntries())], compression: 'none' });
    stack.use(await tunnel(engine, guarded.port));
    privateRegistry = guarded.address;
  });
  afterAll(() => stack.disposeAsync());

  const run = (file: string, titles: readonly string[], host: string) =>
    engine.run(
      [process.execPath, join(import.meta.dirname, 'run-cases.ts'), join(import.meta.dirname, file), ...titles],
      {
        env: { DOCKER_HOST: host, REGISTRY: registry, PRIVATE_REGISTRY: privateRegistry },
        timeoutMs: 200_000,
      },
    );
  const files = {
    'dockerode.ts': cases,
    'dockerode-streams.ts': streamCases,
    'dockerode-images.ts': imageCases,
    'dockerode-build.ts': buildCases,
  };

  const all = Object.entries(files).flatMap(([file, ones]) =>
    Object.keys(ones).map((title): [string, string] => [title, file]),
  );
  test.each(all)('%s', async (title, file) => {
    await run(file, [title], `unix://${engine.socket}`);
  });

  test('all of these over TCP', async () => {
    for (const [file, ones] of Object.entries(files)) await run(file, Object.keys(ones), tcp);
  });
});
