import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { withEngine } from '../support/faces.ts';

const program = join(import.meta.dirname, 'docker-py.py');
const python = ['/usr/bin/python3', '-B'];

describe('docker-py', { ...shows({ client: 'docker-py' }), timeout: 240_000 }, () => {
  const engine = withEngine();
  const titles = JSON.parse(
    execFileSync(python[0]!, [...python.slice(1), program, 'list'], { encoding: 'utf8' }),
  ) as string[];
  test.each(titles)('%s', async (title) => {
    await engine().run([...python, program, 'run', title], { env: { DOCKER_HOST: `unix://${engine().socket}` } });
  });
});
