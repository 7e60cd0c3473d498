import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AT_FDCWD, fromByteString, O_DIRECTORY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import type { DiffID } from '../digest.ts';
import { paced } from '../tree/pace.ts';
import { LiveSide, type TreeSide } from '../tree/side.ts';
import { compareTwo } from '../tree/two-trees.ts';
import type { LayerRecord, UnpackedLayer } from './layer-record.ts';

const words = { added: 'is missing', deleted: 'does not belong there', modified: 'is not as its blob has it' } as const;

/** What is wrong with a layer's folder at first sight; undefined: nothing. @param folder with record and files */
export function folderDamage(folder: string, diffID: DiffID): string | undefined {
  const files = statSync(join(folder, 'diff'), { throwIfNoEntry: false });
  if (!files?.isDirectory()) return 'its files are gone';
  // Read anew: what this process remembers may not be what lies there.
  const record = readFileSync(join(folder, 'layer.json'), 'utf8');
  try {
    const { diffID: said, sizeBytes, implied } = JSON.parse(record) as Partial<UnpackedLayer>;
    if (said !== diffID) return `its record is that of ${said}`;
    if (!Number.isSafeInteger(sizeBytes) || !Array.isArray(implied)) return 'its record is not complete';
    return undefined;
  } catch {
    return 'its record cannot be read';
  }
}

/** What of a layer's record is not as it should be; undefined: nothing. */
export function recordDifference(is: LayerRecord, should: UnpackedLayer): string | undefined {
  for (const key of ['diffID', 'sizeBytes', 'implied', 'root'] as const) {
    if (JSON.stringify(is[key]) === JSON.stringify(should[key])) continue;
    return `its record says another ${key} than its blob`;
  }
  return undefined;
}

/** What of a layer's files is not as it should be: the first such path, and how many more; undefined: nothing. */
export async function treeDifference(isPath: string, shouldPath: string): Promise<string | undefined> {
  using is = sideOf(isPath);
  using should = sideOf(shouldPath);
  const { first, count } = await paced(differences(is, should));
  if (first === undefined) return undefined;
  return count === 1 ? first : `${first}, and ${count - 1} more`;
}

function* differences(
  is: TreeSide,
  should: TreeSide,
): Generator<void, { first: string | undefined; count: number }, void> {
  let first: string | undefined;
  let count = 0;
  for (const change of compareTwo(is, should, { isStrict: true })) {
    yield;
    if (change === undefined) continue;
    count += 1;
    first ??= `/${fromByteString(change.path)} ${words[change.kind]}`;
  }
  return { first, count };
}

const sideOf = (path: string): TreeSide =>
  new LiveSide(new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY)));
