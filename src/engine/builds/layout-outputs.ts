import { resolve } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { canonical, nameInLayout, parseReference, withDefaultTag } from '../../image/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import type { BuildOutput } from './build-options.ts';
import { openLayoutStore } from './layout-store.ts';
import type { SessionOptions } from './session-options.ts';

/** By which exporters ask for the layout that they write into. */
const STORE_ID = 'export';
const DEFAULT_TAG = 'latest';

/** The folder of the output that is an OCI layout. @throws {TareError} InvalidArgument: there are several */
function layoutOf(outputs: readonly BuildOutput[]): string | undefined {
  const folders = outputs.flatMap(({ type, destination }) =>
    type !== 'local' && destination !== undefined && 'folder' in destination ? [resolve(destination.folder)] : [],
  );
  if (folders.length <= 1) return folders[0];
  throw new TareError('InvalidArgument', `one layout a build: ${folders.join(' and ')} are written with tar=false`);
}

/** What outputs write into, for the session. @throws {TareError} InvalidArgument: several of them are layouts */
export function layoutStores(outputs: readonly BuildOutput[]): NonNullable<SessionOptions['contentStores']> {
  const folder = layoutOf(outputs);
  return folder === undefined ? {} : { [STORE_ID]: folder };
}

/** What was written into a layout gets its names in the layout's index, which is its writer's to write. */
export async function nameInOwnLayout(
  outputs: readonly BuildOutput[],
  response: Readonly<Record<string, string>>,
): Promise<void> {
  const folder = layoutOf(outputs);
  const described = response['containerimage.descriptor'];
  if (folder === undefined || described === undefined) return;
  const descriptor = JSON.parse(Buffer.from(described, 'base64').toString('utf8')) as Descriptor;
  // Of several outputs the last one tells.
  await openLayoutStore(folder).info(descriptor.digest);
  const names = (response['image.name'] ?? '').split(',').filter((name) => name !== '');
  if (names.length === 0) await nameInLayout(folder, DEFAULT_TAG, descriptor);
  for (const name of names.map((text) => withDefaultTag(parseReference(text)))) {
    const annotations = { ...descriptor.annotations, 'io.containerd.image.name': canonical(name) };
    await nameInLayout(folder, name.tag ?? canonical(name), { ...descriptor, annotations });
  }
}
