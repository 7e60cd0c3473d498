import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Of config.json, what the floor changes. */
export interface Specification {
  root: { path: string; readonly: boolean };
  hooks?: unknown;
  linux: { namespaces: { type: string; path?: string }[]; cgroupsPath: string };
}

/**
 * What no engine of this make can avoid: conmon and crun creating, starting and deleting the bundle by hand. A shell does
 * it, because a shell spawns faster than Node.js.
 */
export class Floor {
  readonly #bundle: string;

  /**
   * @param config of a container that a contender made and keeps
   * @param rootfs its image, unpacked
   * @param folder ours
   */
  constructor(config: Specification, rootfs: string, folder: string) {
    this.#bundle = folder;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'config.json'), JSON.stringify(byHand(config, rootfs)));
    writeFileSync(join(folder, 'run.sh'), script(folder));
  }

  /** One container's whole life. */
  get command(): string[] {
    return ['/bin/sh', join(this.#bundle, 'run.sh')];
  }
}

function script(folder: string): string {
  return `set -e
cd '${folder}'
rm -rf exits sync log pidfile; mkdir exits
mkfifo sync
exec 3<>sync
_OCI_SYNCPIPE=3 conmon --api-version 1 -c bench-floor -u bench-floor -n bench-floor -r /usr/bin/crun \\
  -b '${folder}' -p '${folder}/pidfile' -l 'k8s-file:${folder}/log' --exit-dir '${folder}/exits' \\
  --socket-dir-path '${folder}' --full-attach
read -r created <&3
case $created in '{"data": '[1-9]*) ;; *) echo "conmon said $created" >&2; exit 1 ;; esac
crun start bench-floor
until [ -e exits/bench-floor ]; do /bin/busybox usleep 500; done
crun delete bench-floor
`;
}

/** The bundle of a container of ours, in a network namespace that crun makes and on a plain folder. */
function byHand(config: Specification, rootfs: string): Specification {
  const namespaces = config.linux.namespaces.map((entry) => (entry.type === 'network' ? { type: 'network' } : entry));
  return {
    ...config,
    root: { path: rootfs, readonly: true },
    hooks: undefined,
    linux: { ...config.linux, namespaces, cgroupsPath: '/bench-floor' },
  };
}
