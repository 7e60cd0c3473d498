import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { dockerClient, olderDockerClient, type TestEngine } from './engine.ts';
import { type ExecuteOptions, execute, type Result } from './execute.ts';

const plugin = 'usr/libexec/docker/cli-plugins/docker-buildx';

/** The versions of buildx that are tested. */
export const buildxVersions = {
  '0.29': join(dockerClient, plugin),
  '0.13': join(olderDockerClient, plugin),
} as const;

/** A command that sleeps for longer than any test, and can be told from others of the machine. */
export const longSleep = `sleep 4${process.pid}`;

/** Whether it runs anywhere on the machine: steps of builds live in namespaces of their own. */
export async function isSleeping(): Promise<boolean> {
  const { stdout } = await execute(['ps', '-eo', 'args']);
  return stdout.split('\n').includes(longSleep);
}

let folders = 0;

/** Docker's buildx, unmodified, for one engine. */
export class Buildx {
  readonly engine: TestEngine;
  readonly program: string;
  readonly #environment: Record<string, string>;

  /** @param builder one that was created; none: the engine's own, over the Docker API */
  constructor(engine: TestEngine, version: keyof typeof buildxVersions = '0.29', builder?: string) {
    this.engine = engine;
    this.program = buildxVersions[version];
    this.#environment = {
      ...engine.clientEnvironment,
      ...(builder === undefined ? {} : { BUILDX_BUILDER: builder }),
      // Its own look at the context's git repository, which is none.
      BUILDX_GIT_INFO: 'false',
    };
  }

  get environment(): Record<string, string> {
    return this.#environment;
  }

  run(args: readonly string[], { env, ...options }: ExecuteOptions = {}): Promise<Result> {
    const all = { timeoutMs: 120_000, ...options, env: { ...this.#environment, ...env } };
    return this.engine.run([this.program, ...args], all);
  }

  /** `buildx build` with its progress as lines, which are on standard error. */
  build(args: readonly string[], options?: ExecuteOptions): Promise<Result> {
    return this.run(['build', '--progress', 'plain', ...args], options);
  }

  /** A new folder with these files. */
  folder(files: Readonly<Record<string, string>>): string {
    folders += 1;
    const folder = join(this.engine.root, `context-${folders}`);
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return folder;
  }
}
