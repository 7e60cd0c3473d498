import type { Context } from './command.ts';
import { fullReference, imageName } from './grammar/image-names.ts';
import { TransferProgress } from './output/transfer-progress.ts';
import { askFor } from './registry-auth.ts';
import { readProgress } from './stream/progress.ts';
import type { Client } from './transport/client.ts';

export interface PullOptions {
  platform?: string | undefined;
  allPlatforms?: boolean;
  allTags?: boolean;
  /** Say nothing while it goes on. */
  quiet?: boolean;
  /** Where the progress goes: 1 is standard output, 2 standard error. */
  descriptor: 1 | 2;
}

/**
 * Has the engine pull an image with this user's credentials.
 *
 * @param text a name with a tag or digest; without one the tag is `latest`, unless all tags are wanted
 * @returns its name in full as the engine understood it
 */
export async function pullImage(context: Context, client: Client, text: string, options: PullOptions): Promise<string> {
  const asked = await askFor(context, text);
  const image = imageName(asked.name);
  if (image.tag === undefined && image.digest === undefined && !options.allTags) image.tag = 'latest';
  const { body } = await client.stream('POST', '/images/create', {
    query: {
      fromImage: image.name,
      tag: image.digest ?? image.tag,
      platform: options.platform,
      allPlatforms: options.allPlatforms,
    },
    headers: asked.headers,
  });
  using progress = new TransferProgress(context, options.descriptor, options.quiet);
  let name = fullReference(image);
  await readProgress(body, (line) => {
    // The search list may have given a short name one of several registries.
    const told = /^Status: .* for (\S+)$/.exec(line.status ?? '')?.[1];
    if (told !== undefined && image.digest === undefined) name = fullReference(imageName(told));
    progress.show(line);
  });
  return name;
}
