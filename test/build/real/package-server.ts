// node package-server.ts FOLDER: serves .cache/debian-mirror on port 80, and says when it listens.
import { createHash } from 'node:crypto';
import { createReadStream, globSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, normalize } from 'node:path';

const [folder = ''] = process.argv.slice(2);
/** apt asks for an index by what it holds. */
const byHash = new Map(
  globSync('dists/**/*.xz', { cwd: folder }).map((path) => [
    createHash('sha256')
      .update(readFileSync(join(folder, path)))
      .digest('hex'),
    path,
  ]),
);

createServer((request, response) => {
  const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://any').pathname));
  const hash = /\/by-hash\/SHA256\/([0-9a-f]{64})$/.exec(path)?.[1];
  const file = join(folder, hash === undefined ? path : (byHash.get(hash) ?? 'nothing'));
  const status = statSync(file, { throwIfNoEntry: false });
  if (status === undefined || !status.isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'Content-Length': status.size });
  createReadStream(file).pipe(response);
}).listen(80, () => console.log('listening'));
