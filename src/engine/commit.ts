import { TareError } from '../errors/index.ts';
import { applyChanges, familiar, type ImageProcessConfig } from '../image/index.ts';
import { healthcheckOf, mergeImageDefaults } from '../runtime/index.ts';
import { containerEvent } from './events.ts';
import { commitName } from './image-commit.ts';
import type { EngineParts } from './parts.ts';
import { keepStill } from './quiesce.ts';
import type { ContainerRecord, ContainerService } from './types.ts';

type Options = Parameters<ContainerService['commit']>[1];
type ProcessConfig = ContainerRecord['config'];

/**
 * Makes an image of what a container changed. What it writes to volumes and binds is not among it.
 *
 * @returns the image's id
 * @throws {TareError} NotFound: the container; InvalidArgument: the name or a change; Conflict: it is being removed
 */
export async function commitContainer(parts: EngineParts, ref: string, options: Options): Promise<string> {
  const { reference, author = '', comment = '', changes = [], pause = true } = options;
  const record = parts.store.get(ref);
  const { id, state } = record;
  if (state.status === 'removing' || state.status === 'dead') {
    throw new TareError('Conflict', `You cannot commit container ${id} which is ${state.status}`);
  }
  // What can be refused is refused before the container stands still.
  const name = reference === undefined ? undefined : commitName(reference);
  const config = committedConfig(record, options.config, changes);
  await using still = pause ? await keepStill(parts, id) : undefined;
  return await parts.images.commit({
    ...{ base: record.imageId, config, author, comment, name },
    createdBy: (record.config.cmd ?? []).join(' '),
    layer: read(parts.layers.diff(id), async () => await still?.[Symbol.asyncDispose]()),
    alongside: (tx, imageID) => {
      const imageRef = name === undefined ? '' : familiar(name);
      tx.event(containerEvent(record, 'commit', { comment, imageID, imageRef }));
    },
  });
}

/** As soon as all is read the container may run on; its layer is stored and unpacked meanwhile. */
async function* read(tar: AsyncIterable<Uint8Array>, done: () => Promise<void>): AsyncGenerator<Uint8Array> {
  yield* tar;
  await done();
}

/** Docker's order: the changes go over what was asked for, else over the container's; what is open then is the container's. */
function committedConfig(
  { config: own }: ContainerRecord,
  asked: ProcessConfig | undefined,
  changes: readonly string[],
): ImageProcessConfig {
  const changed = applyChanges(imageConfigOf(asked ?? own), changes);
  const merged = mergeImageDefaults(containerConfigOf(own, changed), imageConfigOf(own));
  return { ...imageConfigOf(merged), ...(changed.OnBuild === undefined ? {} : { OnBuild: changed.OnBuild }) };
}

/** What of a container's configuration an image holds. */
function imageConfigOf(config: ProcessConfig): ImageProcessConfig {
  const { healthcheck } = config;
  return {
    ...(config.user !== '' && { User: config.user }),
    ...(config.exposedPorts.length > 0 && { ExposedPorts: setOf(config.exposedPorts) }),
    ...(config.env.length > 0 && { Env: config.env }),
    ...(config.entrypoint !== null && { Entrypoint: config.entrypoint }),
    ...(config.cmd !== null && { Cmd: config.cmd }),
    ...(config.volumes.length > 0 && { Volumes: setOf(config.volumes) }),
    ...(config.workingDir !== '' && { WorkingDir: config.workingDir }),
    ...(Object.keys(config.labels).length > 0 && { Labels: config.labels }),
    ...(config.stopSignal !== '' && { StopSignal: config.stopSignal }),
    ...(config.stopTimeoutSeconds !== null && { StopTimeout: config.stopTimeoutSeconds }),
    ...(config.onBuild.length > 0 && { OnBuild: config.onBuild }),
    ...(config.shell !== null && { Shell: config.shell }),
    ...(healthcheck !== null && {
      Healthcheck: {
        Test: healthcheck.test,
        Interval: healthcheck.intervalNs,
        Timeout: healthcheck.timeoutNs,
        StartPeriod: healthcheck.startPeriodNs,
        StartInterval: healthcheck.startIntervalNs,
        Retries: healthcheck.retries,
      },
    }),
  };
}

/** The way back; what an image does not hold stays the container's. */
function containerConfigOf(own: ProcessConfig, image: ImageProcessConfig): ProcessConfig {
  return {
    ...own,
    user: image.User ?? '',
    exposedPorts: Object.keys(image.ExposedPorts ?? {}),
    env: image.Env ?? [],
    entrypoint: image.Entrypoint ?? null,
    cmd: image.Cmd ?? null,
    volumes: Object.keys(image.Volumes ?? {}),
    workingDir: image.WorkingDir ?? '',
    labels: image.Labels ?? {},
    stopSignal: image.StopSignal ?? '',
    stopTimeoutSeconds: image.StopTimeout ?? null,
    onBuild: image.OnBuild ?? [],
    shell: image.Shell ?? null,
    healthcheck: healthcheckOf(image),
  };
}

const setOf = (names: readonly string[]): Record<string, object> => Object.fromEntries(names.map((name) => [name, {}]));
