import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Processes, not threads: the engine's system calls enter namespaces and change what a whole process sees.
    pool: 'forks',
    maxWorkers: availableParallelism(),
    globalSetup: 'test/support/host-cgroups.ts',
    // An upload that is refused early can lose its answer to the closing of the connection: known, see docs/testing.md.
    retry: 1,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
