/**
 * What a test shows about compatibility, for the tables of docs/compatibility.md; see docs/testing.md.
 *
 *     describe('dockerode', shows({ client: 'dockerode' }), () => { … });
 *     test('kill sends the signal', shows({ endpoints: ['POST /containers/{id}/kill'] }), async () => { … });
 */
import type { DockerEndpoint } from './docker-endpoints.ts';

/** The clients that the table knows, in its order. */
export const clients = [
  'docker',
  'docker 20.10',
  'docker compose',
  'docker-compose 1.29',
  'docker-py',
  'docker buildx',
  'dockerode',
  'testcontainers',
  '@devcontainers/cli',
] as const;

export type { DockerEndpoint } from './docker-endpoints.ts';

export interface Shown {
  /** The program or library, unmodified, that the test drives. The test's title becomes a row of its table. */
  client?: (typeof clients)[number];
  /** Endpoints whose answers the test checks. */
  endpoints?: readonly DockerEndpoint[];
}

declare module 'vitest' {
  interface TaskMeta extends Shown {}
}

/** Options of a test, or of a group for all its tests; each of the two is replaced by what a test or an inner group says of it. */
export const shows = (shown: Shown): { meta: Shown } => ({ meta: shown });
