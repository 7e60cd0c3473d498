import { CdiDevices, type CdiEdits, type HostConfig, requestedDevices } from '../runtime/index.ts';
import type { EngineParts } from './parts.ts';

/**
 * What a container gets with the devices it asks for by request; undefined: it asks for none. Looked up at its creation,
 * so that it is refused early, and at each start, as this host's devices may have changed.
 *
 * @throws {TareError} InvalidArgument, Unsupported: nobody describes such a device
 */
export async function deviceEdits(
  { config }: Pick<EngineParts, 'config'>,
  { deviceRequests }: Pick<HostConfig, 'deviceRequests'>,
): Promise<CdiEdits | undefined> {
  if (deviceRequests.length === 0) return undefined;
  const devices = await CdiDevices.read(config.cdiFolders);
  return devices.editsFor(requestedDevices(deviceRequests, devices, config.cdiFolders));
}
