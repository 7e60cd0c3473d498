import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { dockerClient } from './engine.ts';
import { eventually } from './execute.ts';
import { Namespaces } from './namespaces.ts';

export interface Dockerd {
  space: Namespaces;
  socket: string;
  /** Its parent cgroup. */
  cgroup: string;
  /** By which docker's client finds it, and its plug-ins. */
  env: Record<string, string>;
}

/**
 * Docker's engine with a containerd of its own, in namespaces of its own; these end it.
 * @param prefix of its cgroup's name: several may be there at once
 * @param flags more of them, of a folder that is its own
 */
export async function startDockerd(
  prefix: string,
  flags: (root: string) => readonly string[] = () => [],
  variables: Record<string, string> = {},
): Promise<Dockerd> {
  const cgroupOf = (root: string) => `${prefix}-${basename(root)}`;
  await using undo = new AsyncDisposableStack();
  const space = undo.use(await Namespaces.open(cgroupOf));
  const { root } = space;
  const socket = join(root, 'docker.sock');
  mkdirSync(join(root, 'config'));
  symlinkSync(join(dockerClient, 'usr/libexec/docker/cli-plugins'), join(root, 'config', 'cli-plugins'));
  // Its runtime files have fixed places below /run.
  await space.run(['mount', '-t', 'tmpfs', 'tmpfs', '/run']);
  const daemon = space.spawn(
    [
      ...['dockerd', '--data-root', join(root, 'data'), '--exec-root', '/run/docker', '--pidfile', '/run/docker.pid'],
      ...['--host', `unix://${socket}`, '--cgroup-parent', `/${cgroupOf(root)}`, '--log-level', 'error'],
      ...flags(root),
    ],
    variables,
  );
  let log = '';
  for (const stream of [daemon.stdout, daemon.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-4000);
    });
  }
  await eventually('dockerd listens', () => {
    if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${log}`);
    return existsSync(socket);
  });
  undo.move();
  const env = { DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: join(root, 'config') };
  return { space, socket, cgroup: cgroupOf(root), env };
}
