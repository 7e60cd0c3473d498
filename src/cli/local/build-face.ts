import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { BuildApi, BuildApiOptions, BuildAuditEntry } from '../../api/buildkit/index.ts';
import type { BuildSession } from '../../build/index.ts';
import { type BuildService, peerOf, withinRequest } from '../../engine/index.ts';
import { VERSION } from '../version.ts';

/** BuildKit's protocol over connections of the Docker API and over a socket of its own; loaded when the first client comes. */
export class BuildFace implements AsyncDisposable {
  readonly #builds: BuildService;
  readonly #report: (subject: string, error: unknown) => void;
  readonly #audit: ((entry: BuildAuditEntry) => void) | undefined;
  readonly #stack = new AsyncDisposableStack();
  #api: Promise<BuildApi> | undefined;

  constructor(
    builds: BuildService,
    { report, audit }: Pick<BuildApiOptions, 'audit'> & Required<Pick<BuildApiOptions, 'report'>>,
  ) {
    this.#builds = builds;
    this.#report = report;
    this.#audit = audit;
  }

  async serve(connection: Duplex): Promise<void> {
    await (await this.#open()).serve(connection);
  }

  async session(connection: Duplex, headers: Readonly<Record<string, string>>): Promise<void> {
    await (await this.#open()).session(connection, headers);
  }

  async findSession(id: string, signal: AbortSignal): Promise<BuildSession> {
    return await (await this.#open()).findSession(id, signal);
  }

  /** @throws {TareError} Conflict: the socket is in use */
  async listen(path: string): Promise<void> {
    const { listenForBuilds } = await import('../../api/buildkit/socket/index.ts');
    const serve = async (connection: Socket) => {
      const caller = peerOf(connection);
      await withinRequest(caller === undefined ? {} : { caller }, () => this.serve(connection));
    };
    this.#stack.use(await listenForBuilds(path, serve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  #open(): Promise<BuildApi> {
    this.#api ??= (async () => {
      const { openBuildApi } = await import('../../api/buildkit/index.ts');
      return this.#stack.use(
        await openBuildApi(this.#builds, { version: VERSION, report: this.#report, audit: this.#audit }),
      );
    })();
    return this.#api;
  }
}
