import { buildRemotely } from '../../api/buildkit/client/index.ts';
import { type BuildOptions, type BuildOutcome, type BuildWatch, openClientSide } from '../../engine/index.ts';
import type { Client } from '../transport/client.ts';

/** Has the daemon build that a client talks to; folders, secrets, agents, credentials and outputs are this machine's. */
export async function buildAt(
  client: Client,
  options: BuildOptions,
  { progress = () => {}, signal = new AbortController().signal, onFailure }: BuildWatch,
  { wantsProvenance }: { wantsProvenance: boolean },
): Promise<BuildOutcome> {
  await using side = await openClientSide(options, { asUser: true }, signal);
  const daemon = {
    open: (path: string, headers: Readonly<Record<string, string | readonly string[]>>) =>
      client.upgrade(path, { headers: { ...headers, upgrade: 'h2c' } }),
  };
  const build = { ...side, wantsProvenance };
  const { provenance, ...result } = await buildRemotely(daemon, build, progress, signal, onFailure);
  return { ...(await side.finish(result)), ...(provenance && { provenance }) };
}
