import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { join } from 'node:path';
import { dockerClient, type TestEngine } from './engine.ts';
import { type ExecuteOptions, eventually, type Result } from './execute.ts';

/** One line of `compose ps --format json`. */
export interface ComposeContainer {
  ID: string;
  Name: string;
  Service: string;
  State: string;
  Health: string;
  ExitCode: number;
  Publishers: { URL: string; TargetPort: number; PublishedPort: number; Protocol: string }[] | null;
}

/** `docker compose`, the plug-in, for one project folder. */
export class Compose {
  readonly folder: string;
  readonly #engine: TestEngine;
  readonly #environment: Record<string, string>;

  constructor(engine: TestEngine, folder: string, environment: Record<string, string> = {}) {
    this.#engine = engine;
    this.folder = folder;
    this.#environment = { DOCKER_HOST: `unix://${engine.socket}`, ...environment };
  }

  run(args: readonly string[], options: ExecuteOptions = {}): Promise<Result> {
    return this.#engine.docker([...this.#words, ...args], {
      timeoutMs: 120_000,
      ...options,
      cwd: this.folder,
      env: { ...this.#environment, ...options.env },
    });
  }

  /** What it prints, without the space around it. */
  async text(...args: string[]): Promise<string> {
    return (await this.run(args)).stdout.trim();
  }

  spawn(args: readonly string[]): ChildProcessWithoutNullStreams {
    const config = { DOCKER_CONFIG: join(this.#engine.root, 'docker-config') };
    const program = join(dockerClient, 'usr/bin/docker');
    return this.#engine.spawn([program, ...this.#words, ...args], { ...this.#environment, ...config });
  }

  /** The containers of the project, those that ended among them, by name. */
  async containers(...services: string[]): Promise<Map<string, ComposeContainer>> {
    const { stdout } = await this.run(['ps', '--all', '--format', 'json', ...services]);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return new Map(lines.map((line) => JSON.parse(line) as ComposeContainer).map((one) => [one.Name, one]));
  }

  get #words(): string[] {
    return ['compose', '--ansi', 'never', '--progress', 'plain', '--project-directory', this.folder];
  }
}

/** What a program has printed so far. */
export function printed(child: ChildProcessWithoutNullStreams): () => string {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
  }
  return () => text;
}

/** Its exit code; null when a signal ended it. */
export async function exitOf(child: ChildProcessWithoutNullStreams): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once('exit', (code) => resolve(code));
  return await promise;
}

/** `eventually`, for clients that start many processes on a machine that may be busy. */
export const patiently = (what: string, body: () => boolean | Promise<boolean>): Promise<boolean> =>
  eventually(what, body, 60_000);
