import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Processes, not threads: the engine's system calls enter namespaces and change what a whole process sees.
    pool: 'forks',
    maxWorkers: availableParallelism(),
    reporters: ['default', './test/support/compatibility-reporter.ts'],
    globalSetup: 'test/support/host-cgroups.ts',
    // The machine may be busy with everything else that runs.
    expect: { poll: { timeout: 10_000 } },
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
