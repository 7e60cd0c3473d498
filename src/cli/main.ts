import { writeSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { VERSION } from './version.ts';

// Everything else is loaded after this question, because it is asked by scripts all day long.
const first = process.argv[2];
if (first === '--version' || first === '-v') {
  writeSync(1, `tare version ${VERSION}\n`);
} else {
  // bin/tare sets this for the command itself; what the command starts is not to inherit it.
  if (process.env['NODE_COMPILE_CACHE'] !== undefined) delete process.env['NODE_COMPILE_CACHE'];
  // Beside the program, never in a shared temporary folder: cached code is code, and root runs it. An ordinary user cannot write there.
  else if (process.argv[1]?.endsWith('.cjs')) enableCompileCache(codeFolder(process.argv[1], process.env));
  void import('./program.ts').then(({ main }) => main(process.argv.slice(2)));
}

function codeFolder(program: string, env: NodeJS.ProcessEnv): string {
  const isUser = process.getuid?.() !== 0 || env['TARE_ROOTLESS'] !== undefined;
  const caches = env['XDG_CACHE_HOME'] || (env['HOME'] && join(env['HOME'], '.cache'));
  return isUser && caches ? join(caches, 'tare/code') : join(dirname(program), '.cache');
}
