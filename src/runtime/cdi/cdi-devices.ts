import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, TareError } from '../../errors/index.ts';
import { type CdiEdits, type CdiSpec, noEdits, parseCdiSpec } from './cdi-spec.ts';

export const standardCdiFolders: readonly string[] = ['/etc/cdi', '/var/run/cdi'];

const MAX_SPEC_BYTES = 4 * 1024 * 1024;
const MAX_SPECS = 1000;

/** The devices that this host's administrator described. */
export class CdiDevices {
  readonly #devices = new Map<string, { spec: CdiSpec; edits: CdiEdits }>();
  /** What could not be used, and why. */
  readonly problems: string[] = [];

  /**
   * Reads all specifications. Of a device that two folders describe the later folder's counts; one that is described
   * twice in one folder is nobody's.
   */
  static async read(folders: readonly string[]): Promise<CdiDevices> {
    const result = new CdiDevices();
    for (const folder of folders) await result.#readFolder(folder);
    return result;
  }

  /** `vendor.com/class=name` of each device, sorted. */
  names(): string[] {
    return [...this.#devices.keys()].sort();
  }

  /** Names of a kind's devices, in the order of numbers. */
  namesOf(kind: string): string[] {
    const own = this.names().filter((name) => name.startsWith(`${kind}=`));
    return own.map((name) => name.slice(kind.length + 1)).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  }

  /**
   * What a container with these devices gets: of each specification what it has for all its devices, once.
   * @throws {TareError} InvalidArgument with docker's text: no such device
   */
  editsFor(names: readonly string[]): CdiEdits {
    const absent = names.filter((name) => !this.#devices.has(name));
    if (absent.length > 0) {
      const reasons = this.problems.length === 0 ? '' : `; left out: ${this.problems.join('; ')}`;
      throw new TareError(
        'InvalidArgument',
        `CDI device injection failed: unresolvable CDI devices ${absent.join(', ')}${reasons}`,
      );
    }
    const seen = new Set<CdiSpec>();
    let all = noEdits;
    for (const name of new Set(names)) {
      const { spec, edits } = this.#devices.get(name)!;
      if (!seen.has(spec)) all = joined(all, spec.edits);
      seen.add(spec);
      all = joined(all, edits);
    }
    return all;
  }

  async #readFolder(folder: string): Promise<void> {
    const status = statSync(folder, { throwIfNoEntry: false });
    if (status === undefined) return;
    const problem = distrust(status);
    if (problem !== undefined) {
      this.problems.push(`${folder} ${problem}`);
      return;
    }
    const files = readdirSync(folder).filter((name) => /\.(json|yaml|yml)$/.test(name) && !name.startsWith('.'));
    const here = new Map<string, { spec: CdiSpec; edits: CdiEdits }>();
    const twice = new Set<string>();
    for (const file of files.sort().slice(0, MAX_SPECS)) {
      const spec = await this.#readSpec(join(folder, file));
      for (const { name, edits } of spec?.devices ?? []) {
        const full = `${spec!.kind}=${name}`;
        if (here.has(full)) twice.add(full);
        here.set(full, { spec: spec!, edits });
      }
    }
    for (const name of twice) {
      this.problems.push(`${name} is described twice in ${folder}`);
      here.delete(name);
      this.#devices.delete(name);
    }
    for (const [name, device] of here) this.#devices.set(name, device);
  }

  async #readSpec(path: string): Promise<CdiSpec | undefined> {
    try {
      const text = readTrusted(path);
      if (path.endsWith('.json')) return parseCdiSpec(JSON.parse(text), path);
      const { parse } = await import('yaml');
      return parseCdiSpec(parse(text, { maxAliasCount: 100 }), path);
    } catch (error) {
      this.problems.push(messageOf(error));
      return undefined;
    }
  }
}

/** Edits may mount anything and run programs on the host, so only its administrator writes them. */
function distrust({ uid, mode }: Stats): string | undefined {
  if (uid !== 0 && uid !== process.geteuid?.()) return `belongs to user ${uid}, not to root`;
  return (mode & 0o022) === 0 ? undefined : 'can be written by others than its owner';
}

function readTrusted(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const status = fstatSync(fd);
    const problem = status.isFile() ? distrust(status) : 'is no file';
    if (problem !== undefined) throw new TareError('Forbidden', `${path} ${problem}`);
    if (status.size > MAX_SPEC_BYTES) throw new TareError('InvalidArgument', `${path} is over ${MAX_SPEC_BYTES} bytes`);
    const bytes = Buffer.alloc(status.size);
    return bytes.toString('utf8', 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}

const joined = (first: CdiEdits, second: CdiEdits): CdiEdits => ({
  env: [...first.env, ...second.env],
  deviceNodes: [...first.deviceNodes, ...second.deviceNodes],
  mounts: [...first.mounts, ...second.mounts],
  hooks: [...first.hooks, ...second.hooks],
  intelRdt: second.intelRdt ?? first.intelRdt,
  additionalGids: [...first.additionalGids, ...second.additionalGids],
});
