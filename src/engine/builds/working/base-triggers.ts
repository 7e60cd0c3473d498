import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { canonical, familiar, parseAnyReference, withDefaultTag } from '../../../image/index.ts';
import type { RecordedImage } from '../../image-records.ts';
import type { WorkingDeps } from './working-deps.ts';
import type { FromOptions } from './working-types.ts';

/** What a working container begins with; disposing takes back what was made for it alone, unless something needs it by then. */
export interface WorkingBase extends AsyncDisposable {
  image: RecordedImage;
}

/**
 * An image, its ONBUILD instructions done as a build that begins with it does them: in a step's isolation, with files of the context folder
 * alone.
 *
 * @throws what a build throws; {TareError} InvalidArgument: an image without a name, by which a build could begin with it
 */
export async function withTriggersDone(
  deps: WorkingDeps,
  ref: string,
  image: RecordedImage,
  { contextFolder, platform, progress = () => {}, signal }: FromOptions,
): Promise<WorkingBase> {
  if ((image.config.config?.OnBuild ?? []).length === 0) return { image, [Symbol.asyncDispose]: async () => {} };
  const text = Buffer.from(`FROM ${nameFor(ref, image)}\n`);
  const alone = async function* () {
    yield text;
  };
  const options = {
    ...(contextFolder === undefined
      ? { context: { stream: alone() } }
      : { context: { folder: contextFolder }, dockerfile: { bytes: text } }),
    ...(platform === undefined ? {} : { platforms: [platform] }),
  };
  try {
    const { imageID } = await deps.build(options, { progress, ...(signal && { signal }) });
    const made = deps.images.resolve(imageID!);
    return {
      image: made,
      [Symbol.asyncDispose]: async () => {
        // Equal to one that somebody made and named: that is his.
        if (deps.images.resolve(made.id).references.length > 0) return;
        await deps.images.remove(made.id, { force: true });
      },
    };
  } catch (error) {
    if (contextFolder !== undefined || signal?.aborted === true) throw error;
    const hint = `the ONBUILD instructions of ${ref} were done without files: --contextdir names the folder of those that they copy`;
    throw new TareError(kindOf(error), `${messageOf(error)}; ${hint}`, { cause: error });
  }
}

function nameFor(ref: string, { references: [known] }: RecordedImage): string {
  const parsed = parseAnyReference(ref);
  if ('name' in parsed) return canonical(withDefaultTag(parsed.name));
  if (known !== undefined) return familiar(known);
  throw new TareError('InvalidArgument', `${ref} has ONBUILD instructions: give the image a name, and begin with that`);
}
