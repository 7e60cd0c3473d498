import type { ImageGC } from './image-gc-config.ts';
import type { Trimmed } from './image-trim.ts';

const HOUR_MS = 3_600_000;

/** What trimming by itself works with. */
export interface HousekeepingParts {
  /** undefined: the user set no threshold, and nothing is removed. */
  gc: ImageGC | undefined;
  trim(gc: ImageGC): Promise<Trimmed | undefined>;
  /** Told of what was removed. */
  notice(text: string): void;
  report(subject: string, error: unknown): void;
}

/** Removes unused images once the user's threshold is passed. What fails is reported, and tried again next time. */
export async function keepBelowThreshold({ gc, trim, notice, report }: HousekeepingParts): Promise<void> {
  if (gc === undefined) return;
  try {
    const trimmed = await trim(gc);
    if (trimmed === undefined) return;
    notice(`removed ${trimmed.images.length} unused images (${trimmed.bytes} bytes): ${trimmed.images.join(', ')}`);
  } catch (error) {
    report('removing unused images', error);
  }
}

/** Does so every hour until it is disposed. */
export function keepBelowThresholdHourly(parts: HousekeepingParts): Disposable {
  const timer = setInterval(() => void keepBelowThreshold(parts), HOUR_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
