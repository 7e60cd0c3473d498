/**
 * Runs cases of a client where the engine is: `node run-cases.ts FILE TITLE…`, in order, until one fails. A FILE exports `cases`, the
 * functions by title.
 */
import { resolve } from 'node:path';

const [file, ...titles] = process.argv.slice(2);
const { cases } = (await import(resolve(file!))) as { cases: Record<string, () => Promise<void>> };
// Some clients leave their connections out of what keeps a process going.
setInterval(() => {}, 60_000);
for (const title of titles) {
  try {
    await cases[title]!();
  } catch (error) {
    console.error(`${title}:`, error);
    process.exit(1);
  }
}
// A client may keep connections that nobody needs any more.
process.exit(0);
