import { constants } from 'node:os';
import { TareError } from '../errors/index.ts';

const REALTIME_MIN = 34;
const REALTIME_MAX = 64;

/**
 * A signal as users write it: `KILL`, `SIGKILL`, `9`, `RTMIN+3`.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const number = /^\d+$/.test(text)
    ? Number(text)
    : ((constants.signals as Record<string, number>)[`SIG${name}`] ?? realtime(name));
  if (number === undefined || number < 1 || number > REALTIME_MAX) {
    throw new TareError('InvalidArgument', `Invalid signal: ${text}`);
  }
  return number;
}

function realtime(name: string): number | undefined {
  const match = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (match === null) return undefined;
  const offset = Number(`${match[2] ?? '+'}${match[3] ?? '0'}`);
  const number = (match[1] === 'MIN' ? REALTIME_MIN : REALTIME_MAX) + offset;
  return number >= REALTIME_MIN && number <= REALTIME_MAX ? number : undefined;
}
