import { TareError } from '../../errors/index.ts';
import type { ImageHealthcheck } from '../config.ts';
import { parseGoDuration } from '../go-duration.ts';
import { FlagError, type FlagValues, readFlags, takeFlags } from './flags.ts';
import { parseJsonForm } from './json-form.ts';

const broken = (message: string) => new TareError('InvalidArgument', message);
const MIN_DURATION_NS = 1e6;
const MAX_RETRIES = 2 ** 31 - 1;

const durations = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const;

const kinds = {
  ...Object.fromEntries(Object.keys(durations).map((name) => [name, 'text' as const])),
  retries: 'text',
} as const;

/**
 * The arguments of a HEALTHCHECK instruction: `NONE`, or flags and `CMD` with a command in JSON or shell form.
 *
 * @throws {TareError} InvalidArgument, in BuildKit's words; a FlagError where it is about a flag
 */
export function parseHealthcheckInstruction(text: string): ImageHealthcheck {
  const { flags, rest } = takeFlags(text);
  const [, word = '', command = ''] = /^(\S*)\s*(.*)$/s.exec(rest)!;
  const type = word.toUpperCase();
  if (type === '') throw broken('HEALTHCHECK requires at least one argument');
  if (type === 'NONE') {
    if (command !== '') throw broken('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  const values = readFlags(flags, kinds);
  if (type !== 'CMD') throw broken(`Unknown type ${JSON.stringify(type)} in HEALTHCHECK (try CMD)`);
  const list = parseJsonForm(command);
  if (command === '' || list?.length === 0) throw broken('Missing command after HEALTHCHECK CMD');
  return { Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list], ...readTimes(values) };
}

function readTimes(values: FlagValues): ImageHealthcheck {
  const check: ImageHealthcheck = {};
  for (const [name, field] of Object.entries(durations)) {
    const text = values.text(name);
    if (text === undefined || text === '') continue;
    const fail = (message: string) => new FlagError(message, values.offsetOf(name)!);
    const duration = parseGoDuration(text);
    if (duration === undefined) {
      throw fail(`--${name}: time: invalid duration ${JSON.stringify(text)}: want such as 30s`);
    }
    if (duration !== 0 && duration < MIN_DURATION_NS) {
      throw fail(`Interval ${JSON.stringify(name)} cannot be less than 1ms`);
    }
    if (duration !== 0) check[field] = duration;
  }
  const retries = values.text('retries');
  if (retries === undefined || retries === '') return check;
  const fail = (message: string) => new FlagError(message, values.offsetOf('retries')!);
  if (!/^[+-]?\d{1,10}$/.test(retries) || Math.abs(Number(retries)) > MAX_RETRIES) {
    throw fail(`--retries: ${JSON.stringify(retries)} is no number: want such as 3`);
  }
  if (Number(retries) < 0) throw fail(`--retries cannot be negative (${Number(retries)})`);
  if (Number(retries) > 0) check.Retries = Number(retries);
  return check;
}
