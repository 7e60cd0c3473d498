import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache } from './built.ts';
import type { TestRegistry } from './registry.ts';
import type { TarEntry } from './tar.ts';
import { tar } from './tar.ts';

/** A layer of Debian's packages, made by scripts/debian-layers. `base` has the C library and busybox. */
export type DebianLayer = 'base' | 'postgres' | 'redis' | 'python' | 'nginx' | 'sshd';

const layer = (name: DebianLayer): Buffer => readFileSync(join(cache, 'debian-layers', `${name}.tar`));

export interface DebianImage {
  layers: readonly DebianLayer[];
  /** On top of the packages. */
  files?: readonly TarEntry[];
  /** The `config` of the image configuration. PATH is Debian's. */
  config?: Record<string, unknown>;
}

/** Puts an image into the registry. @param reference `repository:tag` */
export async function seedDebianImage(registry: TestRegistry, reference: string, image: DebianImage): Promise<void> {
  const [repository, tag] = reference.split(':') as [string, string];
  await registry.seed(repository, tag, {
    layers: [...image.layers.map(layer), ...(image.files === undefined ? [] : [tar(image.files)])],
    // They stay on this machine: packing them would take longer than moving them.
    compression: 'none',
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Cmd: ['sh'],
      ...image.config,
    },
  });
}
