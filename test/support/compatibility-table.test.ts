import { expect, test } from 'vitest';
import { readTable, type Table, writeTable } from './compatibility-table.ts';

const table: Table = new Map([
  [
    'test/clients/b.test.ts',
    {
      endpoints: new Set(['GET /info', 'GET /containers/{id}/json']),
      clients: [
        { client: 'docker-py', passes: 'filters such as name=^a|b$ and a \\ are kept' },
        { client: 'docker', passes: 'run' },
      ],
    },
  ],
  ['test/docker/a.test.ts', { endpoints: new Set(['GET /info']), clients: [] }],
]);

test('the page is read as it was written', () => {
  const page = writeTable(table);
  expect(readTable(page)).toEqual(
    new Map([...table].map(([file, rows]) => [file, { ...rows, clients: rows.clients.toReversed() }])),
  );
  expect(writeTable(readTable(page))).toBe(page);
});

test('every endpoint has a row, with those who check it', () => {
  const page = writeTable(table);
  expect(page).toContain(
    '| GET /info | [clients/b](../test/clients/b.test.ts), [docker/a](../test/docker/a.test.ts) |\n',
  );
  expect(page).toContain('| POST /commit | — |\n');
});
