import { TareError } from '../errors/index.ts';
import type { ImageHealthcheck } from './config.ts';
import { parseGoDuration } from './go-duration.ts';
import { parseJsonForm } from './json-form.ts';

const broken = (message: string) => new TareError('InvalidArgument', message);
const MIN_DURATION_NS = 1e6;

const durations = {
  interval: 'Interval',
  timeout: 'Timeout',
  'start-period': 'StartPeriod',
  'start-interval': 'StartInterval',
} as const;

/**
 * The arguments of a HEALTHCHECK instruction: `NONE`, or flags and `CMD` with a command in JSON or shell form.
 *
 * @throws {TareError} InvalidArgument, in docker's words
 */
export function parseHealthcheckInstruction(text: string): ImageHealthcheck {
  const check: ImageHealthcheck = {};
  let rest = text;
  for (let match = flagPattern.exec(rest); match !== null; match = flagPattern.exec(rest)) {
    readFlag(check, match[1]!, match[2]);
    rest = match[3]!;
  }
  const [, word = '', command = ''] = /^(\S*)\s*(.*)$/s.exec(rest)!;
  const type = word.toUpperCase();
  if (type === '') throw broken('HEALTHCHECK requires at least one argument');
  if (type === 'NONE') {
    if (command !== '') throw broken('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'] };
  }
  if (type !== 'CMD') throw broken(`Unknown type ${JSON.stringify(word)} in HEALTHCHECK (try CMD)`);
  const list = parseJsonForm(command);
  if (command === '' || list?.length === 0) throw broken('Missing command after HEALTHCHECK CMD');
  return { Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list], ...check };
}

const flagPattern = /^--([a-z-]+)(?:=(\S*))?\s*(.*)$/s;

function readFlag(check: ImageHealthcheck, name: string, value: string | undefined): void {
  if (name === 'retries') {
    if (value === undefined || !/^\d{1,9}$/.test(value) || Number(value) < 1) {
      throw broken(`--retries must be at least 1 (not ${value ?? 'empty'})`);
    }
    check.Retries = Number(value);
    return;
  }
  if (!(name in durations)) throw broken(`unknown flag: --${name}`);
  const duration = parseGoDuration(value ?? '');
  if (duration === undefined)
    throw broken(`--${name}: invalid duration ${JSON.stringify(value ?? '')}: want such as 30s`);
  if (duration < 0 || (duration !== 0 && duration < MIN_DURATION_NS)) {
    throw broken(`--${name} ${JSON.stringify(value)} cannot be less than 1ms`);
  }
  check[durations[name as keyof typeof durations]] = duration;
}
