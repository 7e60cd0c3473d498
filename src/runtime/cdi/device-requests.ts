import { TareError } from '../../errors/index.ts';
import type { DeviceRequest } from '../settings.ts';
import type { CdiDevices } from './cdi-devices.ts';
import { isQualifiedName } from './cdi-spec.ts';

const GPU_KIND = 'nvidia.com/gpu';

/**
 * The CDI devices that requests ask for; `--gpus` means those of nvidia's kind.
 *
 * @param folders where specifications were looked for, for messages
 * @throws {TareError} InvalidArgument: the request contradicts itself, or asks for more than there is; Unsupported, with
 *   docker's text: no driver has what it asks for
 */
export function requestedDevices(
  requests: readonly DeviceRequest[],
  devices: Pick<CdiDevices, 'namesOf' | 'problems'>,
  folders: readonly string[],
): string[] {
  return requests.flatMap((request) => {
    if (request.count !== 0 && request.deviceIds.length > 0) {
      throw new TareError('InvalidArgument', 'cannot set both Count and DeviceIDs on device request');
    }
    if (request.driver === 'cdi') return qualified(request);
    const isForGpus = request.capabilities.some((set) => set.includes('gpu') || set.includes('nvidia'));
    if (!isForGpus || !['', 'nvidia'].includes(request.driver)) throw unselectable(request, '');
    const present = devices.namesOf(GPU_KIND);
    if (present.length === 0) {
      const why = devices.problems.length === 0 ? '' : ` (${devices.problems.join('; ')})`;
      throw unselectable(
        request,
        `: no device of ${GPU_KIND} is described in ${folders.join(' or ')}${why}: run nvidia-ctk cdi generate`,
      );
    }
    return gpus(request, present).map((name) => `${GPU_KIND}=${name}`);
  });
}

function qualified({ deviceIds, capabilities, options }: DeviceRequest): string[] {
  if (capabilities.length > 0 || Object.keys(options).length > 0) {
    throw new TareError('InvalidArgument', 'CDI device requests have neither capabilities nor options');
  }
  const bad = deviceIds.find((id) => !isQualifiedName(id));
  if (bad === undefined) return deviceIds;
  throw new TareError('InvalidArgument', `invalid CDI device name ${JSON.stringify(bad)}: want vendor.com/class=name`);
}

function gpus({ count, deviceIds }: DeviceRequest, present: readonly string[]): string[] {
  if (deviceIds.length > 0) return deviceIds;
  const single = present.filter((name) => name !== 'all');
  if (count < 0) return present.includes('all') ? ['all'] : single;
  // Devices are described by index and again by their unique ids.
  const numbered = single.filter((name) => /^\d+$/.test(name));
  const choice = numbered.length > 0 ? numbered : single;
  if (count <= choice.length) return choice.slice(0, count);
  throw new TareError('InvalidArgument', `${count} GPUs were asked for, and this host has ${choice.length}`);
}

/** Docker's text. */
function unselectable({ driver, capabilities }: DeviceRequest, remedy: string): TareError {
  const sets = capabilities.map((set) => `[${set.join(' ')}]`).join(' ');
  return new TareError(
    'Unsupported',
    `could not select device driver "${driver}" with capabilities: [${sets}]${remedy}`,
  );
}
