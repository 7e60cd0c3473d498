/**
 * Runs Vitest, then says in one plain line how many tests passed and failed.
 *
 *     node scripts/test.ts [ARGUMENTS FOR VITEST]
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { built } from '../test/support/built.ts';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; name: string; assertionResults: unknown[] }[];
}

const home = resolve(import.meta.dirname, '..');
const report = join(home, '.cache', 'test-report.json');
mkdirSync(join(home, '.cache'), { recursive: true });
rmSync(report, { force: true });
// Once, before several workers want an engine and each builds it.
built();

const { status } = spawnSync(
  process.execPath,
  [
    join(home, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=./test/support/compatibility-reporter.ts',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: home, stdio: ['ignore', 'inherit', 'inherit'] },
);

const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8')) as Report;
// A file that could not be loaded has no tests to count, yet it failed.
const brokenFiles = testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
console.log(`${numPassedTests} passed, ${numFailedTests + brokenFiles} failed`);
process.exit(status ?? 1);
