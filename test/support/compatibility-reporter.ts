import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import { project } from './built.ts';
import { type ClientRow, type FileRows, readTable, writeTable } from './compatibility-table.ts';

const page = join(project, 'docs/compatibility.md');

/**
 * Compares docs/compatibility.md with what the tests that ran show, a file at a time: a run of one file, or of some of its
 * tests, says nothing about the others. A page that is not right fails the run, unless TARE_COMPATIBILITY=write has it written.
 */
export default class CompatibilityReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const before = existsSync(page) ? readFileSync(page, 'utf8') : '';
    const table = readTable(before);
    for (const file of table.keys()) if (!existsSync(join(project, file))) table.delete(file);
    for (const module of modules) {
      const rows = rowsOf(module);
      if (rows === undefined) continue;
      const file = relative(project, module.moduleId);
      if (rows.clients.length + rows.endpoints.size > 0) table.set(file, rows);
      else table.delete(file);
    }
    const after = writeTable(table);
    if (after === before) return;
    if (process.env['TARE_COMPATIBILITY'] === 'write') {
      writeFileSync(page, after);
      console.log('docs/compatibility.md is written anew');
    } else {
      console.error('docs/compatibility.md is not what the tests show: run `make compatibility` and commit the page');
      process.exitCode = 1;
    }
  }
}

/** Undefined: not all tests of the file ran and passed, so that it cannot be said. */
function rowsOf(module: TestModule): FileRows | undefined {
  const endpoints = new Set<string>();
  const clients: ClientRow[] = [];
  if (!module.ok()) return undefined;
  for (const test of module.children.allTests()) {
    if (test.result().state !== 'passed') return undefined;
    const { client, endpoints: checked = [] } = test.meta();
    for (const endpoint of checked) endpoints.add(endpoint);
    if (client !== undefined) clients.push({ client, passes: test.name });
  }
  return { endpoints, clients };
}
