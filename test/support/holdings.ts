import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { node } from './built.ts';
import type { TestEngine } from './engine.ts';
import { eventually } from './execute.ts';
import { hierarchies } from './namespaces.ts';

const tables = [
  'containers',
  'execs',
  'volumes',
  'endpoints',
  'ports',
  'images',
  'image_references',
  'leases',
  'volume_mounts',
  'container_links',
];

/** Files that come and go by themselves: locks, the database, what the keeper notes, marks of layers that reached the disk. */
const bookkeeping = /^(locks\/|tare\.db|keeper\.|watchers\.lock|layers\/[0-9a-f]+\/synced$)/;

/** Prints the first column of each row of the tables, with the table's name. */
const query = `
  const { DatabaseSync } = require('node:sqlite');
  const [path, ...tables] = process.argv.slice(1);
  const database = new DatabaseSync(path);
  for (const table of tables) {
    for (const row of database.prepare('SELECT * FROM ' + table).all()) {
      console.log('record in ' + table + ': ' + Object.values(row)[0]);
    }
  }
`;

/**
 * Everything an engine has on disk, in its database and in the kernel, a line each: what a refused command must leave
 * as it was. Lock files and the database's own files are no holdings.
 */
export async function holdings(engine: TestEngine): Promise<string[]> {
  // The data root may be a mount that only the engine's namespace sees.
  const inside = (path: string) => join(`/proc/${engine.holderPid}/root`, path);
  const held: string[] = [];
  for (const root of [engine.dataRoot, engine.execRoot]) {
    for (const path of below(inside(root), 3)) {
      if (!bookkeeping.test(path)) held.push(`file ${path}`);
    }
  }
  // SQLite resolves links, so it has to run where the path is what it says.
  const records = await engine.run([node, '-e', query, join(engine.dataRoot, 'tare.db'), ...tables]);
  held.push(...records.stdout.split('\n').filter(Boolean));
  for (const line of readFileSync(`/proc/${engine.holderPid}/mountinfo`, 'utf8').split('\n')) {
    if (line.includes(engine.root)) held.push(`mount ${line.split(' ')[4]}`);
  }
  for (const hierarchy of hierarchies()) {
    const parent = join(hierarchy, engine.instance);
    if (!existsSync(parent)) continue;
    for (const entry of readdirSync(parent, { withFileTypes: true })) {
      if (entry.isDirectory()) held.push(`cgroup ${parent}/${entry.name}`);
    }
  }
  for (const { command } of engine.processes()) if (/\bconmon\b/.test(command)) held.push(`monitor ${command}`);
  for (const line of (await engine.run(['ip', '-o', 'link'])).stdout.trim().split('\n')) {
    held.push(`link ${line.split(/[:@]/)[1]!.trim()}`);
  }
  for (const line of (await engine.run(['nft', 'list', 'ruleset'])).stdout.split('\n')) {
    held.push(`firewall ${line.replace(/packets \d+ bytes \d+/, '').trim()}`);
  }
  return held.sort();
}

/** The same of an engine that has nothing to do any more: its keeper has ended, and what was removed is gone. */
export async function restingHoldings(engine: TestEngine): Promise<string[]> {
  return await eventually('the engine has come to rest', async () => {
    if (engine.processes().some(({ command }) => /\bkeeper\b/.test(command))) return false;
    const held = await holdings(engine);
    return held.every((line) => !line.includes('/.removing-')) && held;
  });
}

/** Paths beneath a folder, as deep as asked; what vanishes meanwhile is skipped. */
function below(folder: string, depth: number, prefix = ''): string[] {
  let entries: ReturnType<typeof list>;
  try {
    entries = list(join(folder, prefix));
  } catch {
    return [];
  }
  return entries.flatMap((entry) => {
    const path = `${prefix}${entry.name}`;
    return entry.isDirectory() && depth > 1 ? [`${path}/`, ...below(folder, depth - 1, `${path}/`)] : [path];
  });
}

const list = (folder: string) => readdirSync(folder, { withFileTypes: true });
