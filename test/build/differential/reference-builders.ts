import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cache } from '../../support/built.ts';
import { startDockerd } from '../../support/dockerd.ts';
import { dockerClient } from '../../support/engine.ts';
import type { Result } from '../../support/execute.ts';
import { busyboxImage } from '../../support/image.ts';
import { Namespaces } from '../../support/namespaces.ts';
import type { Case } from './case.ts';

/** Somebody else's builder, in namespaces of its own. */
export interface ReferenceBuilder extends AsyncDisposable {
  /** @returns a docker archive of what it makes of the case in this folder @throws with what it printed */
  build(folder: string, one: Case): Promise<Uint8Array>;
}

const engine = join(cache, 'docker-engine');
const client = join(dockerClient, 'usr/bin/docker');

/** Docker's engine with BuildKit, in namespaces of its own. */
export interface DockerEngine extends AsyncDisposable {
  readonly root: string;
  /** Its address. */
  readonly host: string;
  run: Namespaces['run'];
  spawn: Namespaces['spawn'];
  /** Docker's client. */
  docker(args: readonly string[], cwd?: string): Promise<Result>;
}

/** Docker's engine with BuildKit, of Debian's next release. */
export async function openBuildKit(): Promise<ReferenceBuilder> {
  await using undo = new AsyncDisposableStack();
  const { docker } = undo.use(await openDocker());
  await docker(['load', '--quiet', '--input', busyboxImage().docker]);
  const owned = undo.move();
  return {
    build: (folder, { args = [] }) => buildWithDocker(docker, folder, args),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** @param configuration `daemon.json` */
export async function openDocker(configuration: object = {}): Promise<DockerEngine> {
  const path = `${join(engine, 'usr/bin')}:${join(engine, 'usr/sbin')}:${process.env['PATH']}`;
  const configured = (root: string): string[] => {
    const file = join(root, 'daemon.json');
    writeFileSync(file, JSON.stringify(configuration));
    return ['--config-file', file];
  };
  const { space, socket, env } = await startDockerd('tare-test-docker', configured, { PATH: path });
  const docker = (args: readonly string[], cwd?: string): Promise<Result> =>
    space.run([client, ...args], { env, timeoutMs: 120_000, ...(cwd === undefined ? {} : { cwd }) });
  return {
    ...{ root: space.root, docker, host: `unix://${socket}` },
    run: (argv, options) => space.run(argv, options),
    spawn: (argv, variables) => space.spawn(argv, variables),
    [Symbol.asyncDispose]: () => space[Symbol.asyncDispose](),
  };
}

/** Builds with docker's client, whatever engine answers. */
export async function buildWithDocker(
  docker: (args: readonly string[], cwd?: string) => Promise<Result>,
  folder: string,
  args: readonly string[],
): Promise<Uint8Array> {
  await docker(['build', '--progress', 'plain', '--provenance=false', '--tag', 'case:test', ...args, '.'], folder);
  const { bytes } = await docker(['save', 'case:test']);
  return bytes;
}

/** Buildah of Debian 12. */
export async function openBuildah(): Promise<ReferenceBuilder> {
  const space = await Namespaces.open((root) => `tare-test-buildah-${basename(root)}`);
  await using undo = new AsyncDisposableStack();
  undo.use(space);
  const { root } = space;
  await space.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  const buildah = (args: readonly string[], cwd?: string) =>
    space.run(['buildah', '--root', join(root, 'data'), '--runroot', '/run/buildah', ...args], {
      timeoutMs: 120_000,
      ...(cwd === undefined ? {} : { cwd }),
    });
  await buildah(['pull', `docker-archive:${busyboxImage().docker}`]);
  const owned = undo.move();
  return {
    async build(folder, { args = [] }) {
      await buildah(
        [
          'bud',
          '--runtime',
          'crun',
          '--isolation',
          'oci',
          '--network',
          'none',
          '--ulimit',
          'nofile=1024:1024',
          '--ulimit',
          'nproc=1024:1024',
          '--format',
          'docker',
          '--layers',
          '--pull=never',
          '--tag',
          'case:test',
          ...args,
          '.',
        ],
        folder,
      );
      const archive = join(root, 'case.tar');
      await space.run(['rm', '-f', archive]);
      await buildah(['push', 'case:test', `docker-archive:${archive}:case:test`]);
      const { bytes } = await space.run(['cat', archive]);
      return bytes;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
