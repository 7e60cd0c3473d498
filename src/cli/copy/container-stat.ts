import { TareError } from '../../errors/index.ts';
import { segment } from '../each.ts';
import type { Client } from '../transport/client.ts';

export interface ContainerPath {
  name: string;
  isFolder: boolean;
  isLink: boolean;
  linkTarget: string;
}

// Go's os.FileMode, which the API speaks.
const MODE_DIR = 2 ** 31;
const MODE_SYMLINK = 2 ** 27;

/** @throws {TareError} NotFound: no such container, or no such path in it */
export async function containerStat(client: Client, container: string, path: string): Promise<ContainerPath> {
  const { headers } = await client
    .stream('HEAD', `/containers/${segment(container)}/archive`, { query: { path } })
    .catch((error: unknown) => {
      // A HEAD's answer has no body to say what is missing.
      if (error instanceof TareError && error.kind === 'NotFound')
        throw new TareError('NotFound', `could not find the file ${path} in container ${container}`, { cause: error });
      throw error;
    });
  return readContainerPath(headers);
}

/** @throws {TareError} Unavailable: no such header, or none that can be read */
export function readContainerPath(headers: Record<string, string>): ContainerPath {
  const text = headers['x-docker-container-path-stat'] ?? '';
  try {
    const { name, mode, linkTarget } = JSON.parse(Buffer.from(text, 'base64').toString()) as {
      name: string;
      mode: number;
      linkTarget: string;
    };
    const has = (bit: number) => Math.floor(mode / bit) % 2 === 1;
    return { name, isFolder: has(MODE_DIR), isLink: has(MODE_SYMLINK), linkTarget };
  } catch (error) {
    throw new TareError(
      'Unavailable',
      `the engine did not say what the path is (${JSON.stringify(text.slice(0, 60))})`,
      { cause: error },
    );
  }
}
