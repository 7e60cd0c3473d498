import { closeSync, existsSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import type { Context } from './command.ts';
import { type CreateBody, type CreateValues, createBody } from './create-request.ts';
import { ApiError, type Client } from './transport/client.ts';

export interface Created {
  client: Client;
  id: string;
  body: CreateBody;
}

/**
 * Creates what `run` and `create` were told, and keeps the id in `--cidfile`. Warnings go to standard error.
 *
 * @throws {TareError} InvalidArgument; NotFound: no such image (nothing can be pulled yet)
 */
export async function createContainer(
  context: Context,
  options: CreateValues & { detach?: boolean },
  image: string,
  words: string[],
): Promise<Created> {
  const body = createBody(options, image, words, terminalSize(options));
  const cidfile = options.cidfile;
  // Refused before anything is made: the id of another container may stand in it.
  if (cidfile !== undefined && existsSync(cidfile))
    throw new TareError(
      'AlreadyExists',
      `container ID file found, make sure the other container isn't running or delete ${cidfile}`,
    );
  const client = await context.connect();
  if (options.pull === 'always') throw unpullable(image);
  let created: { Id: string; Warnings?: string[] | null };
  using file = new CidFile(cidfile);
  try {
    created = await client.json('POST', '/containers/create', {
      query: { name: options.name, platform: options.platform },
      body,
    });
  } catch (error) {
    if (
      error instanceof ApiError &&
      error.status === 404 &&
      /no such image/i.test(error.message) &&
      options.pull !== 'never'
    )
      throw unpullable(image, error);
    throw error;
  }
  for (const warning of created.Warnings ?? []) context.err(`WARNING: ${warning}\n`);
  file.write(created.Id);
  return { client, id: created.Id, body };
}

function terminalSize(options: CreateValues): [number, number] | undefined {
  return options.tty && process.stdout.isTTY ? [process.stdout.rows, process.stdout.columns] : undefined;
}

function unpullable(image: string, cause?: unknown): TareError {
  return new TareError(
    'NotFound',
    `Unable to find image '${image}' locally, and images cannot be pulled yet: bring it in with 'tare load' or 'tare import'`,
    { cause },
  );
}

/** Made before the container, so that a path that cannot be written is refused early; taken away again when no id came. */
class CidFile implements Disposable {
  readonly #path: string | undefined;
  #descriptor = -1;
  #written = false;

  constructor(path: string | undefined) {
    this.#path = path;
    if (path !== undefined) this.#descriptor = openSync(path, 'wx', 0o644);
  }

  write(id: string): void {
    if (this.#descriptor < 0) return;
    writeSync(this.#descriptor, id);
    this.#written = true;
  }

  [Symbol.dispose](): void {
    if (this.#descriptor < 0) return;
    closeSync(this.#descriptor);
    if (!this.#written) unlinkSync(this.#path!);
  }
}
