import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';

const RESIZE = 1;
const REOPEN_LOG = 2;
/** Later versions of conmon refuse more. */
const MAX_CELLS = 1000;

/** Writes one line to a conmon's control FIFO. */
function control(directory: string, line: string): void {
  let fd: number;
  try {
    // Without waiting for a reader: ENXIO says that conmon is gone.
    fd = openSync(join(directory, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENXIO') {
      throw new TareError('Conflict', `no monitor listens in ${directory}: its process has ended`, { cause: error });
    }
    throw error;
  }
  try {
    writeSync(fd, line);
  } finally {
    closeSync(fd);
  }
}

/**
 * Sets the size of a terminal. A size beyond what conmon takes is cut to it.
 *
 * @throws {TareError} Conflict: ended; InvalidArgument: not a size
 */
export function resizeTerminal(directory: string, rows: number, columns: number): void {
  if (![rows, columns].every((cells) => Number.isInteger(cells) && cells >= 0)) {
    throw new TareError('InvalidArgument', `terminal size ${rows}x${columns}: want two whole numbers`);
  }
  control(directory, `${RESIZE} ${Math.min(rows, MAX_CELLS)} ${Math.min(columns, MAX_CELLS)}\n`);
}

/** Makes a conmon open its log file anew, after it was renamed. */
export function reopenLogFile(bundle: string): void {
  control(bundle, `${REOPEN_LOG} 0 0\n`);
}
