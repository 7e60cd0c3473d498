import type { Descriptor } from '../../storage/index.ts';
import { mediaTypes } from '../manifest.ts';
import { FolderFiles } from './folder-files.ts';
import { FolderWriter } from './folder-writer.ts';
import { readWhole } from './layout-files.ts';
import { layoutVersion } from './oci-layout-destination.ts';
import { readLayoutIndex, refName } from './oci-layout-source.ts';

/**
 * What a name of an OCI layout's index stands for.
 * @throws {TareError} NotFound: there is no such folder; InvalidArgument: it is no layout
 */
export async function layoutEntryNamed(folder: string, name: string): Promise<Descriptor | undefined> {
  const what = `OCI layout ${folder}`;
  using files = new FolderFiles(folder, what);
  return (await readLayoutIndex(files, what)).find(({ annotations }) => annotations?.[refName] === name);
}

/** Gives a name of a layout to something that lies in it; what had the name goes from the index, and all else stays. */
export async function nameInLayout(folder: string, name: string, descriptor: Descriptor): Promise<void> {
  const what = `OCI layout ${folder}`;
  using writer = new FolderWriter(folder, what);
  using files = new FolderFiles(folder, what);
  if (files.size('oci-layout') === undefined) await writer.writeFile('', 'oci-layout', layoutVersion);
  using _ = await writer.lock();
  const bytes = await readWhole(files, 'index.json');
  const known = bytes === undefined ? [] : await readLayoutIndex(files, what);
  const index =
    bytes === undefined ? { schemaVersion: 2, mediaType: mediaTypes.index } : JSON.parse(bytes.toString('utf8'));
  const manifests = [
    ...known.filter(({ annotations }) => annotations?.[refName] !== name),
    { ...descriptor, annotations: { ...descriptor.annotations, [refName]: name } },
  ];
  await writer.writeFile('', 'index.json', Buffer.from(JSON.stringify({ ...index, manifests })));
  await writer.syncFolder('');
}
