import type { Attachment } from './attachment.ts';
import { type Conflist, isAtLeast, type PluginConfig } from './conflist.ts';
import { type CniCommand, type PluginRun, pluginPath, runPlugin, VersionRefused } from './plugin.ts';

/**
 * The specification's operations on a whole list (section 3). None is atomic: a failed ADD is undone by DEL, which the
 * caller does as for any other end.
 */

/** Each plugin in order, each with the result of the one before. @returns the last one's result */
export async function add(attachment: Attachment, lockFd: number): Promise<Record<string, unknown>> {
  const { list } = attachment;
  let result: Record<string, unknown> | undefined;
  for (const plugin of list.plugins) {
    const answer = await runPlugin({
      ...runOf('ADD', attachment, plugin),
      lockFd,
      config: configOf(list, plugin, attachment.runtimeConfig, result),
    });
    // One that has nothing to say leaves what others said.
    result = answer ?? result;
  }
  return result ?? {};
}

/**
 * Each plugin in reverse order; the first failure ends it, for the next try to begin again. One that does not know the
 * list's version has nothing to take back. Repeating is safe.
 */
export async function del(attachment: Attachment, netns: string, lockFd: number): Promise<void> {
  const { list, result } = attachment;
  // Before 0.4.0 plugins are not told.
  const previous = isAtLeast(list.cniVersion, '0.4.0') ? result : undefined;
  for (const plugin of list.plugins.toReversed()) {
    try {
      await runPlugin({
        ...runOf('DEL', attachment, plugin),
        netns,
        lockFd,
        config: configOf(list, plugin, attachment.runtimeConfig, previous),
      });
    } catch (error) {
      if (!(error instanceof VersionRefused)) throw error;
    }
  }
}

/** Whether everything is as ADD made it; nothing is asked of lists that cannot say. @throws {TareError} it is not */
export async function check(attachment: Attachment): Promise<void> {
  const { list, result } = attachment;
  if (list.disableCheck || result === undefined || !isAtLeast(list.cniVersion, '0.4.0')) return;
  for (const plugin of list.plugins) {
    await runPlugin({
      ...runOf('CHECK', attachment, plugin),
      config: configOf(list, plugin, attachment.runtimeConfig, result),
    });
  }
}

/** Whether a list can take attachments; older ones cannot say. @throws {TareError} Unavailable: it cannot */
export async function status(list: Conflist, binDirs: readonly string[]): Promise<void> {
  if (!isAtLeast(list.cniVersion, '1.1.0')) return;
  for (const plugin of list.plugins) await runPlugin(networkRun('STATUS', list, plugin, binDirs, {}));
}

/**
 * Lets plugins drop whatever belongs to no attachment of ours. Whoever shares a list with another program must not call
 * this: the other's attachments would go.
 */
export async function collectGarbage(
  list: Conflist,
  binDirs: readonly string[],
  valid: readonly { containerId: string; ifName: string }[],
): Promise<void> {
  if (list.disableGC || !isAtLeast(list.cniVersion, '1.1.0')) return;
  const known = valid.map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }));
  for (const plugin of list.plugins) {
    await runPlugin(networkRun('GC', list, plugin, binDirs, { 'cni.dev/valid-attachments': known }));
  }
}

/** @throws {TareError} Unavailable: a program of the list, or one for addresses, is missing */
export function requirePlugins(list: Conflist, binDirs: readonly string[]): void {
  for (const { type, ipam } of list.plugins) {
    pluginPath(type, binDirs);
    const addresses = (ipam as { type?: unknown } | undefined)?.type;
    if (typeof addresses === 'string' && addresses !== '' && !addresses.includes('/')) pluginPath(addresses, binDirs);
  }
}

export const hasCapability = (list: Conflist, capability: string): boolean =>
  list.plugins.some(({ capabilities = {} }) => capabilities[capability] === true);

function runOf(
  command: CniCommand,
  { binDirs, containerId, ifName, netns, args }: Attachment,
  { type }: PluginConfig,
): Omit<PluginRun, 'config'> {
  return { command, type, binDirs, containerId, ifName, netns, args };
}

function networkRun(
  command: CniCommand,
  list: Conflist,
  plugin: PluginConfig,
  binDirs: readonly string[],
  more: Record<string, unknown>,
): PluginRun {
  const nobody = { containerId: '', ifName: '', netns: '', args: '' };
  return {
    command,
    type: plugin.type,
    binDirs,
    ...nobody,
    config: { ...configOf(list, plugin, {}, undefined), ...more },
  };
}

/** A plugin's execution configuration (section 3, "Deriving execution configuration from plugin configuration"). */
function configOf(
  { name, cniVersion }: Conflist,
  { capabilities = {}, ...plugin }: PluginConfig,
  runtimeConfig: Record<string, unknown>,
  prevResult: Record<string, unknown> | undefined,
): Record<string, unknown> {
  const wanted = Object.entries(runtimeConfig).filter(([capability]) => capabilities[capability] === true);
  return {
    ...plugin,
    name,
    cniVersion,
    ...(wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) }),
    ...(prevResult === undefined ? {} : { prevResult }),
  };
}
