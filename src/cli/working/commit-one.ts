import type { WorkingContainer } from '../../engine/index.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { interruption } from '../interrupt.ts';
import { outputElsewhere } from './commit-output.ts';

const formats = ['oci', 'docker'] as const;

/** What `tare commit` says of a working container. */
export interface CommitFlags {
  author: string | undefined;
  change: readonly string[];
  format: string | undefined;
  message: string | undefined;
  rm: boolean;
  squash: boolean;
  timestamp: string | undefined;
}

/** Makes an image of a working container, here or elsewhere. @param reference a name, or as `outputElsewhere` has it @returns its id @throws {UsageError} */
export async function commitOne(
  container: WorkingContainer,
  reference: string | undefined,
  flags: CommitFlags,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const format = formats.find((one) => one === (flags.format ?? 'oci'));
  if (format === undefined)
    throw new UsageError(`invalid value ${JSON.stringify(flags.format)} for --format: one of ${formats.join(', ')}`);
  const timestamp = flags.timestamp ?? env['SOURCE_DATE_EPOCH'];
  if (timestamp !== undefined && !/^\d{1,12}$/.test(timestamp))
    throw new UsageError(`invalid time ${JSON.stringify(timestamp)} for --timestamp: want seconds since 1970`);
  const output = reference === undefined ? undefined : outputElsewhere(reference);
  using interrupted = interruption();
  const { imageID = '' } = await container.commit(output === undefined ? reference : undefined, {
    ...(output === undefined ? {} : { outputs: [output] }),
    format,
    squash: flags.squash,
    remove: flags.rm,
    changes: flags.change,
    ...(timestamp === undefined ? {} : { timestamp: Number(timestamp) }),
    ...(flags.author === undefined ? {} : { author: flags.author }),
    ...(flags.message === undefined ? {} : { message: flags.message }),
    signal: interrupted.signal,
  });
  return imageID;
}
