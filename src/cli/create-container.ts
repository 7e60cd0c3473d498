import { closeSync, existsSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import type { Context } from './command.ts';
import { type CreateBody, type CreateValues, createBody } from './create-request.ts';
import { fullReference, imageName } from './grammar/image-names.ts';
import { ApiError, type Client } from './transport/client.ts';

export interface Created {
  client: Client;
  id: string;
  body: CreateBody;
}

/**
 * Creates what `run` and `create` were told, and keeps the id in `--cidfile`. An image that is not there is pulled unless `--pull`
 * says otherwise. Warnings and the pull's progress go to standard error.
 *
 * @throws {TareError} InvalidArgument; NotFound: no such image, here or where it was looked for
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
  using file = new CidFile(cidfile);
  const created = await withImage(context, client, image, options, (name) => {
    body.Image = name;
    return client.json<{ Id: string; Warnings?: string[] | null }>('POST', '/containers/create', {
      query: { name: options.name, platform: options.platform },
      body,
    });
  });
  for (const warning of created.Warnings ?? []) context.err(`WARNING: ${warning}\n`);
  file.write(created.Id);
  return { client, id: created.Id, body };
}

function terminalSize(options: CreateValues): [number, number] | undefined {
  return options.tty && process.stdout.isTTY ? [process.stdout.rows, process.stdout.columns] : undefined;
}

/**
 * Makes something of an image, which is pulled before if it is wanted anew or not there.
 *
 * @param make called with the image's name; what it throws for an absent image asks for the pull
 */
async function withImage<T>(
  context: Context,
  client: Client,
  image: string,
  options: CreateValues,
  make: (name: string) => Promise<T>,
): Promise<T> {
  const { platform, quiet } = options;
  const pull = async () => {
    const { pullImage } = await import('./pull-image.ts');
    const name = await pullImage(context, client, image, { platform, quiet, descriptor: 2 });
    return await make(isOther(name, image) ? name : image);
  };
  if (options.pull === 'always') return await pull();
  try {
    return await make(image);
  } catch (error) {
    if (options.pull === 'never' || !isAbsentImage(error)) throw error;
  }
  const { askFor } = await import('./registry-auth.ts');
  const { name } = await askFor(context, image);
  try {
    // By an alias it may be here under another name.
    if (isOther(name, image)) return await make(name);
  } catch (error) {
    if (!isAbsentImage(error)) throw error;
  }
  if (!quiet) context.err(`Unable to find image '${withTag(image)}' locally\n`);
  return await pull();
}

const isAbsentImage = (error: unknown) =>
  error instanceof ApiError && error.status === 404 && /no such image/i.test(error.message);

/** Whether a name in full is of another image than docker takes the typed one for. */
const isOther = (name: string, typed: string) => withTag(name) !== fullReference(imageName(withTag(typed)));

/** The image as docker names it in messages. */
const withTag = (image: string) => (/[:@][^/]*$/.test(image) ? image : `${image}:latest`);

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
