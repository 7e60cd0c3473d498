import { rmSync } from 'node:fs';
import { TareError } from '../../../errors/index.ts';
import { currentBootId } from '../../leases.ts';
import type { BuildOutcome } from '../build-service.ts';
import { copyIntoWorking, runInWorking } from './change-working.ts';
import { commitWorking } from './commit-working.ts';
import { changeConfig } from './config-changes.ts';
import { makeWorking } from './make-working.ts';
import { holdWorking, mountNotes, type WorkingDeps } from './working-deps.ts';
import {
  allWorking,
  deleteWorking,
  getWorking,
  isMounted,
  keyOf,
  updateWorking,
  type WorkingRecord,
} from './working-records.ts';
import type {
  CommitOptions,
  ConfigChanges,
  CopyOptions,
  FromOptions,
  RunOptions,
  WorkingContainer,
  WorkingContainerView,
  WorkingMount,
} from './working-types.ts';

/** Makes a working container. @see makeWorking */
export async function fromImage(deps: WorkingDeps, ref: string, options: FromOptions): Promise<WorkingContainer> {
  return new OpenWorking(deps, await makeWorking(deps, ref, options));
}

/** @param ref name, id, or unique beginning of an id @throws {TareError} NotFound */
export const openWorking = (deps: WorkingDeps, ref: string): WorkingContainer =>
  new OpenWorking(deps, getWorking(deps.parts.db, ref));

/** Newest first. */
export const listWorking = ({ parts }: WorkingDeps): WorkingContainerView[] =>
  allWorking(parts.db).map((record) => viewOf(parts.layers, record));

class OpenWorking implements WorkingContainer {
  readonly id: string;
  readonly name: string;
  readonly #deps: WorkingDeps;

  constructor(deps: WorkingDeps, { id, name }: WorkingRecord) {
    this.id = id;
    this.name = name;
    this.#deps = deps;
  }

  async inspect(): Promise<WorkingContainerView> {
    const { db, layers } = this.#deps.parts;
    return viewOf(layers, getWorking(db, this.id));
  }

  async config(changes: ConfigChanges): Promise<void> {
    await updateWorking(this.#deps.parts.db, this.id, (record) => changeConfig(record, changes, Date.now()));
  }

  async copy(sources: readonly string[], destination: string, options: CopyOptions = {}): Promise<void> {
    await copyIntoWorking(this.#deps, this.id, 'COPY', sources, destination, options);
  }

  async add(sources: readonly string[], destination: string, options: CopyOptions = {}): Promise<void> {
    await copyIntoWorking(this.#deps, this.id, 'ADD', sources, destination, options);
  }

  async run(command: readonly string[], options: RunOptions = {}): Promise<number> {
    return await runInWorking(this.#deps, this.id, command, options);
  }

  async mount(): Promise<WorkingMount> {
    const { db, layers } = this.#deps.parts;
    const path = await holdWorking(this.#deps, [this.id], undefined, async ([held]) => {
      // The record first: what is mounted without one, whoever comes next unmounts.
      await updateWorking(db, this.id, (record) => {
        const count = isMounted(record) ? record.mounts.count : 0;
        record.mounts = { count: count + 1, bootID: currentBootId() };
      });
      return layers.mount(held!.key);
    });
    let isBack = false;
    return {
      path,
      [Symbol.asyncDispose]: async () => {
        if (isBack) return;
        isBack = true;
        await this.unmount();
      },
    };
  }

  async unmount({ all = false }: { all?: boolean } = {}): Promise<void> {
    const { db } = this.#deps.parts;
    await holdWorking(this.#deps, [this.id], undefined, async () => {
      await updateWorking(db, this.id, (record) => {
        if (!isMounted(record)) throw new TareError('Conflict', `working container ${record.name} is not mounted`);
        record.mounts.count = all ? 0 : record.mounts.count - 1;
      });
    });
  }

  async commit(name?: string, options: CommitOptions = {}): Promise<BuildOutcome> {
    const outcome = await holdWorking(this.#deps, [this.id], options.signal, ([held]) =>
      commitWorking(this.#deps, held!, name, options),
    );
    if (options.remove === true) await this.remove();
    else await this.#deps.images.collect();
    return outcome;
  }

  async remove(): Promise<void> {
    const { parts, images } = this.#deps;
    using _intent = parts.intents.begin();
    {
      using _lock = await parts.locks.acquire(`container:${keyOf(this.id)}`);
      // A snapshot without a record is nobody's.
      await parts.db.write((tx) => {
        getWorking(tx, this.id);
        deleteWorking(tx, this.id);
      });
      await parts.layers.remove(keyOf(this.id));
      rmSync(mountNotes(parts, this.id), { force: true });
    }
    await images.collect();
  }
}

const viewOf = (layers: WorkingDeps['parts']['layers'], record: WorkingRecord): WorkingContainerView => ({
  id: record.id,
  name: record.name,
  createdMs: record.createdMs,
  base: record.base && { imageID: record.base.imageID, ref: record.base.ref },
  platform: record.platform,
  config: record.config,
  author: record.author,
  comment: record.comment,
  annotations: record.annotations,
  mountPath: isMounted(record) ? layers.mountPath(keyOf(record.id)) : undefined,
});
