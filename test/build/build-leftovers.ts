import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { node } from '../support/built.ts';
import type { TestEngine } from '../support/engine.ts';
import { hierarchies } from '../support/namespaces.ts';

/** Prints what the records of the cache and of images name, and what was left in the records. */
const query = `
  const { DatabaseSync } = require('node:sqlite');
  const database = new DatabaseSync(process.argv[1]);
  const column = (sql) => database.prepare(sql).all().map((row) => Object.values(row)[0]);
  console.log(JSON.stringify({
    results: column('SELECT layer FROM build_result_layers'),
    ofSteps: column("SELECT layer FROM build_result_layers JOIN build_results ON id = result_id WHERE key_id NOT LIKE 'entry:%'"),
    records: column('SELECT layer FROM build_records WHERE layer IS NOT NULL'),
    folders: column('SELECT folder FROM build_records WHERE folder IS NOT NULL'),
    unlisted: column('SELECT DISTINCT key_id FROM build_results WHERE id NOT IN (SELECT result_id FROM build_result_layers) AND layers <> \\'[]\\''),
    images: database.prepare('SELECT doc FROM images').all().map(({ doc }) => doc),
    leases: column('SELECT resource FROM leases'),
    endpoints: column('SELECT container_id FROM endpoints'),
  }));
`;

interface Records {
  results: string[];
  ofSteps: string[];
  records: string[];
  folders: string[];
  unlisted: string[];
  images: string[];
  leases: string[];
  endpoints: string[];
}

/**
 * What an engine with nothing to do has that belongs to no record, and what its records name that it does not have, a line each.
 */
export async function buildLeftovers(engine: TestEngine): Promise<string[]> {
  return [
    ...inTheKernel(engine),
    ...(await links(engine)),
    ...onDisk(engine),
    ...unlike(engine, await recordsOf(engine)),
  ].sort();
}

async function recordsOf(engine: TestEngine): Promise<Records> {
  return JSON.parse((await engine.run([node, '-e', query, join(engine.dataRoot, 'tare.db')])).stdout);
}

function inTheKernel(engine: TestEngine): string[] {
  const { execRoot, dataRoot, instance } = engine;
  const mounts = readFileSync(`/proc/${engine.holderPid}/mountinfo`, 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => place.startsWith(`${execRoot}/`) || place.startsWith(`${dataRoot}/`));
  const cgroups = hierarchies()
    .map((hierarchy) => join(hierarchy, instance))
    .filter((parent) => existsSync(parent))
    .flatMap((parent) =>
      readdirSync(parent, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? [join(parent, entry.name)] : [],
      ),
    );
  const workers = engine
    .processes()
    .filter(({ command }) => /^(\S*\/)?(crun|runc|git\S*|conmon)\b/.test(command) && !/git[ -]daemon/.test(command));
  return [
    ...mounts.map((place) => `mount ${place}`),
    ...cgroups.map((path) => `cgroup ${path}`),
    ...workers.map(({ command }) => `process ${command.slice(0, 200)}`),
  ];
}

async function links(engine: TestEngine): Promise<string[]> {
  const { stdout } = await engine.run(['ip', '-o', 'link', 'show', 'type', 'veth']);
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [`link ${line.split(' ')[1]}`]));
}

function onDisk({ execRoot, dataRoot }: TestEngine): string[] {
  const inside = (root: string, ...patterns: string[]) =>
    globSync(patterns, { cwd: root }).map((path) => `file ${path}`);
  return [
    ...inside(
      execRoot,
      'build/step*',
      'build/places-*',
      'build/scratch/*',
      'build/exports/*',
      'build/trees/*',
      'netns/*',
    ),
    ...inside(dataRoot, 'snapshots/*', 'snapshots/.removing-*', 'layers/ingest/*', 'layers/removing/*'),
    ...inside(dataRoot, 'content/ingest/*', 'build/removing/*', 'build/*/*.new-*', 'build/sources/*/work-*'),
    ...inside(dataRoot, 'build/sources/*/*.new', 'build/sources/*/*.lock'),
  ];
}

/** Layers and folders without a record, and records without theirs. */
function unlike({ dataRoot }: TestEngine, said: Records): string[] {
  const layers = readdirSync(join(dataRoot, 'layers')).flatMap((name) =>
    /^[0-9a-f]{64}$/.test(name) ? [`sha256:${name}`] : /^local-/.test(name) ? [name.replace('-', ':')] : [],
  );
  const ofBuilds = new Set([...said.results, ...said.records]);
  const images = said.images.join();
  const folders = ['cache-mounts', 'sources'].flatMap((parent) =>
    existsSync(join(dataRoot, 'build', parent))
      ? readdirSync(join(dataRoot, 'build', parent)).map((name) => `${parent}/${name}`)
      : [],
  );
  return [
    ...layers.filter((name) => !ofBuilds.has(name) && !images.includes(name)).map((name) => `nobody's layer ${name}`),
    ...[...ofBuilds].filter((name) => !layers.includes(name)).map((name) => `record of the lost layer ${name}`),
    ...said.ofSteps
      .filter((name) => !said.records.includes(name))
      .map((name) => `result of the unlisted layer ${name}`),
    ...folders.filter((path) => !said.folders.includes(path)).map((path) => `nobody's folder ${path}`),
    ...said.folders.filter((path) => !folders.includes(path)).map((path) => `record of the lost folder ${path}`),
    ...said.unlisted.map((key) => `half-made result ${key}`),
    ...said.leases.map((resource) => `lease on ${resource}`),
    ...said.endpoints.map((id) => `endpoint ${id}`),
  ];
}
