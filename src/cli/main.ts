import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { Bundles } from './bundles.ts';
import { VERSION } from './version.ts';

/** Of what scripts/build.ts made; sources that run as they are have none. */
declare const BUILD: string | undefined;

// Everything else is loaded after this question, because it is asked by scripts all day long.
const first = process.argv[2];
if (first === '--version' || first === '-v') {
  writeSync(1, `tare version ${VERSION}\n`);
} else if (typeof BUILD === 'string') {
  const bundles = new Bundles(import.meta.dirname, codeFolder(import.meta.dirname, BUILD, process.env));
  process.on('exit', (code) => {
    // V8's flags are another's choice then, and what is kept would change hands for ever.
    if (code === 0 && process.env['NODE_OPTIONS'] === undefined) bundles.keep();
  });
  const { main } = bundles.load('program') as typeof import('./program.ts');
  void main(process.argv.slice(2), (command) => bundles.use(command));
} else {
  void import('./program.ts').then(({ main }) => main(process.argv.slice(2)));
}

/**
 * Where compiled code is kept: beside the program, never in a shared temporary folder, for it is code, and root runs it. An ordinary user
 * cannot write there.
 */
function codeFolder(home: string, build: string, env: NodeJS.ProcessEnv): string {
  const isUser = process.getuid?.() !== 0 || env['TARE_ROOTLESS'] !== undefined;
  const caches = env['XDG_CACHE_HOME'] || (env['HOME'] && join(env['HOME'], '.cache'));
  // V8 asks that its flags be the same, too: those of the command itself differ from those of the processes that it starts.
  const flags = process.execArgv
    .filter((flag) => !flag.startsWith('--disable-warning'))
    .join('')
    .replaceAll(/[^\w-]+/g, '_');
  const of = `${build}-${process.version}-${process.arch}${flags}`;
  return isUser && caches ? join(caches, 'tare/code', of) : join(home, '.cache', of);
}
