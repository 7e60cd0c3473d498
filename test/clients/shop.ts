import { chmodSync, cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { seedDebianImage } from '../support/debian-images.ts';
import { type EngineOptions, TestEngine } from '../support/engine.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import type { TarEntry } from '../support/tar.ts';

/** Folder of the project. */
export const shopSource = join(import.meta.dirname, 'shop');

/** The images of test/clients/shop/compose.yaml, as its Dockerfile makes them: for who pulls them. */
export async function seedShopImages(registry: TestRegistry): Promise<void> {
  const programs = readdirSync(join(shopSource, 'srv')).map(
    (name): TarEntry => ({ path: `srv/${name}`, content: readFileSync(join(shopSource, 'srv', name)) }),
  );
  const path = 'PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  await seedDebianImage(registry, 'shop/nginx:1', {
    layers: ['base', 'nginx'],
    config: { Cmd: ['nginx'], ExposedPorts: { '80/tcp': {} }, StopSignal: 'SIGQUIT' },
  });
  await seedDebianImage(registry, 'shop/python:1', {
    layers: ['base', 'python'],
    files: [{ path: 'srv', type: 'directory' }, ...programs],
    config: { Env: [path, 'PYTHONDONTWRITEBYTECODE=1'], WorkingDir: '/srv', User: 'app' },
  });
  await seedDebianImage(registry, 'shop/postgres:1', {
    layers: ['base', 'postgres'],
    files: [
      { path: 'var/lib/postgresql/data', type: 'directory', uid: 100, gid: 100, mode: 0o700 },
      { path: 'entrypoint', content: readFileSync(join(shopSource, 'postgres.sh')), mode: 0o755 },
    ],
    config: {
      Env: [path, 'PGDATA=/var/lib/postgresql/data', 'LANG=C.UTF-8'],
      Entrypoint: ['/entrypoint'],
      Cmd: [],
      User: 'postgres',
      Volumes: { '/var/lib/postgresql/data': {} },
      ExposedPorts: { '5432/tcp': {} },
      StopSignal: 'SIGINT',
    },
  });
  await seedDebianImage(registry, 'shop/redis:1', {
    layers: ['base', 'redis'],
    files: [{ path: 'var/lib/redis', type: 'directory', uid: 101, gid: 101, mode: 0o750 }],
    config: {
      Cmd: ['redis-server'],
      User: 'redis',
      WorkingDir: '/var/lib/redis',
      Volumes: { '/var/lib/redis': {} },
      ExposedPorts: { '6379/tcp': {} },
    },
  });
}

/** What test/clients/shop/Dockerfile begins with: the packages, and nothing else. */
async function seedBases(registry: TestRegistry): Promise<void> {
  for (const name of ['nginx', 'python', 'postgres', 'redis'] as const)
    await seedDebianImage(registry, `debian/${name}:1`, { layers: ['base', name] });
}

/** An engine, a registry that it reaches with the images of the shop, and a copy of the project to run and to change. */
export class Shop implements AsyncDisposable {
  readonly engine: TestEngine;
  /** Folder of compose.yaml. */
  readonly project: string;
  readonly environment: Record<string, string>;
  readonly #stack: AsyncDisposableStack;

  private constructor(engine: TestEngine, registry: TestRegistry, stack: AsyncDisposableStack) {
    this.engine = engine;
    this.project = join(engine.root, 'shop');
    this.environment = { REGISTRY: registry.address, WEB_PORT: '8080' };
    this.#stack = stack;
  }

  static async open(options: EngineOptions = {}): Promise<Shop> {
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(await startRegistry());
    await seedShopImages(registry);
    await seedBases(registry);
    const engine = stack.use(await TestEngine.start(options));
    stack.use(await tunnel(engine, registry.port));
    const shop = new Shop(engine, registry, stack.move());
    cpSync(shopSource, shop.project, { recursive: true });
    // The programs run as users of their own, and the engine's folder is for root alone.
    chmodSync(join(shop.project, 'db_password.txt'), 0o644);
    return shop;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
