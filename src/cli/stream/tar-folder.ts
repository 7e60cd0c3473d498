import { createReadStream, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { END_OF_TAR, tarHeader, tarPadding } from './tar.ts';

/**
 * An image's folder as a tar, for a daemon that cannot see our files. Regular files and folders only: that is all an image layout
 * has.
 *
 * @throws {TareError} InvalidArgument: a file changed its size meanwhile
 */
export async function* tarFolder(root: string, prefix = ''): AsyncGenerator<Uint8Array> {
  yield* entries(root, prefix);
  yield END_OF_TAR;
}

async function* entries(root: string, prefix: string): AsyncGenerator<Uint8Array> {
  for (const name of readdirSync(join(root, prefix)).sort()) {
    const path = prefix === '' ? name : `${prefix}/${name}`;
    const file = join(root, path);
    const stat = lstatSync(file);
    const common = {
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      modifiedSeconds: Math.floor(stat.mtimeMs / 1000),
    };
    if (stat.isDirectory()) {
      yield tarHeader({ ...common, name: `${path}/`, type: 'directory', sizeBytes: 0 });
      yield* entries(root, path);
    } else if (stat.isFile()) {
      yield tarHeader({ ...common, name: path, type: 'file', sizeBytes: stat.size });
      let sent = 0;
      for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
        sent += chunk.length;
        if (sent > stat.size) break;
        yield chunk;
      }
      if (sent !== stat.size) throw new TareError('InvalidArgument', `${file} changed while it was read`);
      yield tarPadding(stat.size);
    }
  }
}
