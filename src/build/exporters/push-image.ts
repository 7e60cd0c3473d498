import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { canonical, canonicalName, planPush, pushPlan, type Reference } from '../../image/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ExportContext } from '../exporter.ts';
import { shown } from './work-status.ts';

/** Blobs under way at a time, as docker has them. */
const CONCURRENCY = 5;

/** Sends an image with all that it lists to each of its repositories. */
export async function pushImage(
  { content, images }: Pick<BuilderParts, 'content' | 'images'>,
  root: Descriptor,
  names: readonly Reference[],
  options: { isByDigest: boolean; isInsecure: boolean },
  { session, progress, signal }: Pick<ExportContext, 'session' | 'progress' | 'signal'>,
): Promise<void> {
  const plan = await planPush(content, root);
  const labels = new Map(plan.blobs.map(({ digest }) => [digest, `pushing ${digest}`]));
  for (const name of names) {
    const ref = options.isByDigest ? canonicalName(name) : canonical(name);
    const repository = await images.repository(ref, { insecure: options.isInsecure, sessions: [session] });
    const sending = pushPlan(
      content,
      repository,
      plan,
      options.isByDigest ? { digest: root.digest } : { tag: name.tag! },
      {
        labels,
        mountFrom: (digest: Digest) => images.blobSources(digest, name.domain).find((path) => path !== name.path),
        concurrency: CONCURRENCY,
        signal,
      },
    );
    await shown(progress, `pushing ${ref}@${root.digest}`, async () => {
      for await (const { id, status, currentBytes, totalBytes } of sending) {
        if (id === undefined) continue;
        const isDone =
          status === 'Pushed' || status === 'Layer already exists' || status?.startsWith('Mounted') === true;
        if (isDone) progress.status(id, { isDone });
        else if (currentBytes !== undefined) {
          progress.status(id, { current: currentBytes, ...(totalBytes === undefined ? {} : { total: totalBytes }) });
        }
      }
    }).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new TareError(kindOf(cause), `failed to push ${ref}: ${messageOf(cause)}`, { cause });
    });
    await images.pushed(ref, { root: root.digest, blobs: plan.blobs.map(({ digest }) => digest) });
  }
}
