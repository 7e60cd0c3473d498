/**
 * docs/compatibility.md as data: read, changed by what the tests of one file show, written. A row names the file of its test,
 * so that running one file tells whether that file's rows are right.
 */
import { clients } from './compatibility.ts';
import { dockerEndpoints } from './docker-endpoints.ts';

export interface ClientRow {
  client: string;
  /** Title of the test. */
  passes: string;
}

/** What the tests of one file show. */
export interface FileRows {
  endpoints: Set<string>;
  clients: ClientRow[];
}

/** By path of the test file from the project's root. */
export type Table = Map<string, FileRows>;

const head = `# Compatibility

What passes when clients of Docker talk to Tare's socket, unmodified. The tests write this page (\`make compatibility\`), and fail
when it is not what they show; [testing.md](testing.md#compatibility) says how. A row is here because its test passed.
`;

const link = (file: string): string => `[${file.replace(/^test\//, '').replace(/\.test\.ts$/, '')}](../${file})`;
const linkPattern = /\[[^\]]*\]\(\.\.\/([^)]+)\)/g;
const cell = (text: string): string => text.replace(/\s+/g, ' ').trim().replaceAll('\\', '\\\\').replaceAll('|', '\\|');

/** The page, the same for the same table whatever the order in which it was filled. */
export function writeTable(table: Table): string {
  const files = [...table].sort(([one], [other]) => (one < other ? -1 : 1));
  const endpointRows = dockerEndpoints.map((endpoint) => {
    const shownBy = files.filter(([, { endpoints }]) => endpoints.has(endpoint)).map(([file]) => link(file));
    return `| ${cell(endpoint)} | ${shownBy.length === 0 ? '—' : shownBy.join(', ')} |`;
  });
  const clientTables = clients.flatMap((client) => {
    const rows = files.flatMap(([file, { clients: ofFile }]) =>
      ofFile.filter((row) => row.client === client).map(({ passes }) => `| ${cell(passes)} | ${link(file)} |`),
    );
    return rows.length === 0 ? [] : [`### ${client}\n\n| passes | shown by |\n| --- | --- |\n${rows.join('\n')}\n`];
  });
  return [
    head,
    `## Clients\n\n${clientTables.join('\n')}`,
    `## Endpoints\n\n| endpoint | answers checked by |\n| --- | --- |\n${endpointRows.join('\n')}\n`,
  ].join('\n');
}

/** What `writeTable` wrote. */
export function readTable(page: string): Table {
  const table: Table = new Map();
  const rowsOf = (file: string): FileRows => {
    const rows = table.get(file) ?? { endpoints: new Set(), clients: [] };
    table.set(file, rows);
    return rows;
  };
  let client: string | undefined;
  for (const line of page.split('\n')) {
    const heading = /^#+ (.*)$/.exec(line);
    if (heading !== null) client = line.startsWith('### ') ? heading[1] : undefined;
    const row = /^\| (.*) \| (.*) \|$/.exec(line);
    if (row === null) continue;
    const [, first, second] = row as unknown as [string, string, string];
    const text = first.replace(/\\([\\|])/g, '$1');
    for (const [, file] of second.matchAll(linkPattern)) {
      if (client === undefined) rowsOf(file!).endpoints.add(text);
      else rowsOf(file!).clients.push({ client, passes: text });
    }
  }
  return table;
}
