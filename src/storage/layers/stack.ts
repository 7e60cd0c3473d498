import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import type { LayerStack } from '../snapshot-driver.ts';

/** The layers of a stack, open, topmost first. */
export function openStack(stack: LayerStack): Disposable & { fds: number[] } {
  const opened = new DisposableStack();
  try {
    const fds = stack.paths.map(
      (path) => opened.use(new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY))).fd,
    );
    return { fds, [Symbol.dispose]: () => opened.dispose() };
  } catch (error) {
    opened.dispose();
    throw error;
  }
}
