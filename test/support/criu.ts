import { join } from 'node:path';
import { cache } from './built.ts';

/** Where CRIU was unpacked by scripts/bootstrap: the machine's may be too old for its kernel. */
export const criuPath = join(cache, 'criu/bin/criu');
