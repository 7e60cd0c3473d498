import { splitFields, splitPair } from './fields.ts';
import { UsageError } from './usage-error.ts';

/** The Docker API's DeviceRequest. */
export interface DeviceRequestBody {
  Driver: string;
  Count: number;
  DeviceIDs: string[];
  Capabilities: string[][];
  Options: Record<string, string>;
}

/** Whether a `--device` names a CDI device, `vendor.com/class=name`, and no path. */
export const isCdiDevice = (text: string): boolean =>
  /^[A-Za-z][A-Za-z0-9_.-]*\/[A-Za-z][A-Za-z0-9_-]*=[^=]+$/.test(text);

/** All CDI devices in one request, as docker's client sends them. */
export const cdiRequest = (names: string[]): DeviceRequestBody => ({
  ...{ Driver: 'cdi', Count: 0, DeviceIDs: names, Capabilities: [], Options: {} },
});

/**
 * docker's `--gpus`: `all`, a number, or `device=ID[,ID]`, `driver=`, `count=`, `capabilities=`, `options=`.
 * @throws {UsageError}
 */
export function parseGpus(text: string): DeviceRequestBody {
  const refuse = (why: string) => new UsageError(`invalid argument ${JSON.stringify(text)} for --gpus: ${why}`);
  const request: DeviceRequestBody = { Driver: '', Count: 0, DeviceIDs: [], Capabilities: [['gpu']], Options: {} };
  const count = (word: string): number => {
    if (word === 'all') return -1;
    if (/^-?\d{1,6}$/.test(word)) return Number(word);
    throw refuse(`count (${word}) must be a number or all`);
  };
  const seen = new Set<string>();
  for (const field of splitFields(text)) {
    const [word, value] = splitPair(field);
    const key = value === undefined ? 'count' : word;
    if (seen.has(key)) throw refuse(`${key} can be given only once`);
    seen.add(key);
    switch (key) {
      case 'count':
        request.Count = count(value ?? word);
        break;
      case 'driver':
        request.Driver = value!;
        break;
      case 'device':
        request.DeviceIDs = value!.split(',');
        break;
      case 'capabilities':
        request.Capabilities = [[...value!.split(','), 'gpu']];
        break;
      case 'options':
        request.Options = Object.fromEntries(
          splitFields(value!).map((option) => [...splitPair(option), ''].slice(0, 2)),
        );
        break;
      default:
        throw refuse(`unexpected key ${key}: expected driver, count, device, capabilities or options`);
    }
  }
  if (!seen.has('count') && request.DeviceIDs.length === 0) request.Count = 1;
  return request;
}
