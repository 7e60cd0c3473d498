import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.ts';

// Threads and programs that run from the sources are stripped of their types and compiled once, not at each of their thousands of starts.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, '.cache/compiled');

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Processes, not threads: the engine's system calls enter namespaces and change what a whole process sees.
    pool: 'forks',
    // A third of a test's time is waiting: for packets that must not come, intervals that must pass, the disk.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    sequence: { sequencer: LongestFirst },
    reporters: ['default', './test/support/compatibility-reporter.ts'],
    globalSetup: 'test/support/host-cgroups.ts',
    setupFiles: 'test/support/equal-bytes.ts',
    // The machine may be busy with everything else that runs.
    expect: { poll: { timeout: 30_000 } },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
