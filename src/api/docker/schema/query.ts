import type { Static, TObject } from 'typebox';
import { TareError } from '../../../errors/index.ts';

interface Parameter {
  type?: string;
  default?: unknown;
}

/**
 * Reads a query as docker reads its forms. Required parameters that are missing get their `default` or the zero value,
 * optional ones stay undefined; unknown parameters are ignored.
 *
 * @throws {TareError} InvalidArgument: a number that is none
 */
export function decodeQuery<S extends TObject>(schema: S, query: URLSearchParams): Static<S> {
  const required = new Set((schema as { required?: string[] }).required);
  const result: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(schema.properties as Record<string, Parameter>)) {
    const given = query.get(name);
    if (given === null) {
      if (required.has(name)) result[name] = parameter.default ?? zero(parameter);
      continue;
    }
    if (given === '' && !required.has(name) && parameter.type === 'integer') continue;
    result[name] = parameter.type === 'array' ? query.getAll(name) : parse(parameter, name, given);
  }
  return result as Static<S>;
}

function parse(parameter: Parameter, name: string, given: string): unknown {
  switch (parameter.type) {
    case 'boolean':
      return !['', '0', 'no', 'false', 'none'].includes(given.trim().toLowerCase());
    case 'integer':
      if (given === '') return 0;
      if (!/^[+-]?[0-9]{1,15}$/.test(given)) {
        throw new TareError(
          'InvalidArgument',
          `invalid value for ${name}: strconv.Atoi: parsing "${given}": invalid syntax`,
        );
      }
      return Number(given);
    default:
      return given;
  }
}

function zero(parameter: Parameter): unknown {
  switch (parameter.type) {
    case 'boolean':
      return false;
    case 'integer':
      return 0;
    case 'array':
      return [];
    default:
      return '';
  }
}
