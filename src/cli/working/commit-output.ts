import type { BuildOutput } from '../../engine/index.ts';
import { UsageError } from '../grammar/usage-error.ts';

const forms = 'docker://NAME, oci-archive:FILE[:NAME], docker-archive:FILE[:NAME] or oci:FOLDER[:NAME]';

/**
 * Where an image goes that is not to stay in this engine's store. A word before a colon may be an image's name, too: a folder begins with a
 * slash or a dot.
 *
 * @returns undefined: it is a name for the store
 * @throws {UsageError}
 */
export function outputElsewhere(text: string): BuildOutput | undefined {
  const [, registry, transport = '', place = ''] =
    /^docker:\/\/(.*)$|^((?:oci|docker)-archive(?=:)|(?:oci|dir)(?=:[./])):(.*)$/s.exec(text) ?? [];
  if (registry !== undefined) return { type: 'image', attributes: { name: registry, push: 'true', store: 'false' } };
  if (transport === '') return undefined;
  if (transport === 'dir')
    throw new UsageError(`no image is committed to ${text}: commit it to a name, and copy that with tare image copy`);
  const colon = place.indexOf(':');
  const path = colon < 0 ? place : place.slice(0, colon);
  const name = place.slice(path.length + 1);
  if (path === '' || (colon >= 0 && name === '')) throw new UsageError(`invalid destination ${text}: want ${forms}`);
  const named: Record<string, string> = name === '' ? {} : { name };
  if (transport === 'oci')
    return { type: 'oci', attributes: { ...named, tar: 'false' }, destination: { folder: path } };
  return { type: transport === 'oci-archive' ? 'oci' : 'docker', attributes: named, destination: { file: path } };
}
