import type { CacheLimits, CacheRule, SpaceLimit } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { parseThreshold, type Threshold } from '../image-gc-config.ts';
import { parseDuration } from '../moments.ts';
import { cacheQuestion } from './cache-filters.ts';

/** What the configuration file says of building. */
export interface BuilderConfig {
  gc: {
    isEnabled: boolean;
    /** Of the usual policy; none: parts of the disk. */
    limits: CacheLimits;
    /** In the place of the usual policy. */
    rules?: readonly CacheRule[];
  };
  /** Steps that run at once; undefined: by the number of processors. */
  maxParallelism?: number;
}

export const usualBuilder: BuilderConfig = { gc: { isEnabled: true, limits: {} } };

const MAX_PARALLELISM = 1024;
const MAX_RULES = 100;

type Table = Readonly<Record<string, unknown>>;

/**
 * The table `builder`, in dockerd's words (`daemon.json`), and some of BuildKit's (`buildkitd.toml`).
 * @throws {TareError} InvalidArgument: the key, and what would be right
 */
export function parseBuilderConfig(builder: Table): BuilderConfig {
  const { gc = {}, 'max-parallelism': maxParallelism } = known('builder', builder, ['gc', 'max-parallelism']);
  if (maxParallelism !== undefined && !isCountUpTo(maxParallelism, MAX_PARALLELISM))
    throw invalid('builder.max-parallelism', maxParallelism, `a whole number from 1 to ${MAX_PARALLELISM}`);
  return {
    gc: parseGC(tableAt('builder.gc', gc)),
    ...(maxParallelism === undefined ? {} : { maxParallelism: maxParallelism as number }),
  };
}

function parseGC(table: Table): BuilderConfig['gc'] {
  const sizes = ['defaultKeepStorage', 'defaultReservedSpace', 'defaultMaxUsedSpace', 'defaultMinFreeSpace'];
  const gc = known('builder.gc', table, ['enabled', 'policy', ...sizes]);
  const { enabled = true, policy } = gc;
  if (typeof enabled !== 'boolean') throw invalid('builder.gc.enabled', enabled, 'true or false');
  if (policy !== undefined && (!Array.isArray(policy) || policy.length > MAX_RULES))
    throw invalid('builder.gc.policy', policy, `a list of at most ${MAX_RULES} tables`);
  const limits = limitsOf('builder.gc', {
    keepStorage: gc['defaultKeepStorage'],
    reservedSpace: gc['defaultReservedSpace'],
    maxUsedSpace: gc['defaultMaxUsedSpace'],
    minFreeSpace: gc['defaultMinFreeSpace'],
  });
  const rules = (policy as unknown[] | undefined)?.map((rule, index) => parseRule(`builder.gc.policy[${index}]`, rule));
  return { isEnabled: enabled, limits, ...(rules === undefined ? {} : { rules }) };
}

const sizeKeys = ['keepStorage', 'reservedSpace', 'maxUsedSpace', 'minFreeSpace'];

function parseRule(path: string, value: unknown): CacheRule {
  const rule = known(path, tableAt(path, value), ['all', 'filter', 'filters', 'keepDuration', ...sizeKeys]);
  const { all = false, filter = [], filters = [], keepDuration } = rule;
  if (typeof all !== 'boolean') throw invalid(`${path}.all`, all, 'true or false');
  for (const [key, list] of Object.entries({ filter, filters })) {
    if (!Array.isArray(list) || !list.every((text) => typeof text === 'string'))
      throw invalid(`${path}.${key}`, list, 'a list such as ["type=exec.cachemount"]');
  }
  // dockerd's are met together; of BuildKit's any is enough.
  const question = cacheQuestion(groupFilters(filter as string[]), Date.now());
  if (question === 'nothing') throw invalid(`${path}.filter`, filter, 'filters of the build cache: it has no labels');
  const durationMs = durationOf(`${path}.keepDuration`, keepDuration) ?? question.keepDurationMs;
  return {
    ...limitsOf(path, rule),
    filters: [...question.filters, ...(filters as string[])],
    all,
    ...(durationMs === undefined ? {} : { keepDurationMs: durationMs }),
  };
}

/** `type=exec.cachemount` as an engine is asked. */
function groupFilters(texts: readonly string[]): Record<string, string[]> {
  const grouped: Record<string, string[]> = {};
  for (const text of texts) {
    const [name = '', value] = text.split(/==?(.*)/s);
    grouped[name] = [...(grouped[name] ?? []), ...(value === undefined ? [] : [value])];
  }
  return grouped;
}

function limitsOf(path: string, table: Table): CacheLimits {
  const at = (key: string) => limitAt(`${path}.${key}`, table[key]);
  // The older name of the same.
  const reservedSpace = at('reservedSpace') ?? at('keepStorage');
  const [maxUsedSpace, minFreeSpace] = [at('maxUsedSpace'), at('minFreeSpace')];
  return {
    ...(reservedSpace && { reservedSpace }),
    ...(maxUsedSpace && { maxUsedSpace }),
    ...(minFreeSpace && { minFreeSpace }),
  };
}

function limitAt(path: string, value: unknown): SpaceLimit | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return { bytes: value };
  const limit: Threshold | undefined = typeof value === 'string' ? parseThreshold(value) : undefined;
  if (limit !== undefined) return limit;
  throw invalid(path, value, 'bytes such as "20GB", or percent of the disk such as "10%"');
}

function durationOf(path: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const seconds = typeof value === 'number' ? value : typeof value === 'string' ? parseDuration(value) : undefined;
  if (seconds !== undefined && seconds >= 0) return seconds * 1000;
  throw invalid(path, value, 'a duration such as "48h", or seconds');
}

function known(path: string, table: Table, keys: readonly string[]): Table {
  const unknown = Object.keys(table).find((key) => !keys.includes(key));
  if (unknown === undefined) return table;
  throw new TareError('InvalidArgument', `unknown key ${path}.${unknown}: one of ${keys.join(', ')}`);
}

function tableAt(path: string, value: unknown): Table {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Table;
  throw invalid(path, value, 'a table');
}

const isCountUpTo = (value: unknown, most: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;

const invalid = (path: string, value: unknown, want: string): TareError =>
  new TareError('InvalidArgument', `invalid ${path} ${JSON.stringify(value)}: want ${want}`);
