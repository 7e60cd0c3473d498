import { posix } from 'node:path';
import { segment } from '../each.ts';
import { copyTo } from '../stream/copy.ts';
import { containerStat, readContainerPath } from './container-stat.ts';
import { extract } from './extract.ts';
import { localDestination, placeCopy, splitEntry } from './paths.ts';
import type { CopyOptions } from './to-container.ts';

/** @param destination a local path, or `-` for a tar on standard output. @throws {TareError} */
export async function copyFromContainer(
  options: CopyOptions,
  source: { container: string; path: string },
  destination: string,
): Promise<void> {
  const { client } = options;
  // Refused before anything is asked of the container.
  const target = destination === '-' ? undefined : localDestination(destination);
  let { path } = source;
  /** The name that the user gave, where a followed link has another. */
  let called: string | undefined;
  if (options.followLink) {
    const stat = await containerStat(client, source.container, path);
    if (stat.isLink) {
      called = splitEntry(path).base;
      path = posix.isAbsolute(stat.linkTarget) ? stat.linkTarget : posix.join(posix.dirname(path), stat.linkTarget);
    }
  }
  const { headers, body } = await client.stream('GET', `/containers/${segment(source.container)}/archive`, {
    query: { path },
  });
  if (!target) return await copyTo(1, body);
  const { isFolder } = readContainerPath(headers);
  const place = placeCopy({ path, exists: true, isFolder }, target);
  await extract(body, place.folder, { from: splitEntry(path).base, to: place.base ?? called });
}
