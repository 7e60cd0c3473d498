import { constants } from 'node:os';
import { TareError } from '../../errors/index.ts';

/**
 * A signal as an image has it: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
 * @throws {TareError} InvalidArgument: there is none of that name
 */
export function requireSignal(text: string): string {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const isNumber = /^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= 64;
  if (isNumber || /^RT(MIN(\+\d+)?|MAX(-\d+)?)$/.test(name) || `SIG${name}` in constants.signals) return text;
  throw new TareError('InvalidArgument', `invalid signal: ${text}: want a name such as SIGTERM, or a number`);
}
