import type { Static, TSchema } from 'typebox';
import { TareError } from '../../../errors/index.ts';

/**
 * Reads parsed JSON as Go's encoding/json reads it into a struct, because docker's clients rely on that: unknown fields
 * are ignored, names match in any case, null means "not given". A required property that is missing gets Go's zero
 * value, an optional one stays undefined (Go's pointer or omitempty); so a schema's static type is what comes out.
 *
 * @throws {TareError} InvalidArgument: a value of another type, in Go's words
 */
export function decodeJson<S extends TSchema>(schema: S, value: unknown): Static<S> {
  return decode(schema as unknown as Node, value, '') as Static<S>;
}

/** The part of JSON Schema that our schemas use. */
interface Node {
  type?: string;
  title?: string;
  properties?: Record<string, Node>;
  required?: string[];
  additionalProperties?: Node;
  items?: Node | Node[];
  /** A single string stands for a list of one (docker's StrSlice). */
  orString?: boolean;
}

function decode(schema: Node, value: unknown, field: string): unknown {
  if (value === undefined || value === null) return zero(schema);
  switch (schema.type) {
    case 'string':
    case 'boolean':
      if (typeof value === schema.type) return value;
      throw mismatch(schema, value, field);
    case 'integer':
      if (typeof value === 'number' && Number.isInteger(value)) return value;
      throw mismatch(schema, value, field);
    case 'number':
      if (typeof value === 'number') return value;
      throw mismatch(schema, value, field);
    case 'array':
      return decodeArray(schema, value, field);
    case 'object':
      if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(schema, value, field);
      return schema.properties ? decodeStruct(schema, value) : decodeMap(schema, value, field);
    default:
      return value;
  }
}

function decodeArray(schema: Node, value: unknown, field: string): unknown[] {
  if (schema.orString && typeof value === 'string') return [value];
  if (!Array.isArray(value)) throw mismatch(schema, value, field);
  const items = schema.items;
  if (Array.isArray(items)) return items.map((item, index) => decode(item, value[index], field));
  return items ? value.map((item) => decode(items, item, field)) : value;
}

function decodeStruct(schema: Node, value: object): Record<string, unknown> {
  const properties = schema.properties as Record<string, Node>;
  const required = new Set(schema.required);
  const given = byFieldName(properties, value);
  const result: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(properties)) {
    const raw = given.get(name);
    if ((raw === undefined || raw === null) && !required.has(name)) continue;
    result[name] = decode(property, raw, `${schema.title ?? ''}.${name}`);
  }
  return result;
}

/** Matches the given names to the schema's: the exact one first, any case otherwise. */
function byFieldName(properties: Record<string, Node>, value: object): Map<string, unknown> {
  const given = new Map<string, unknown>();
  let lowered: Map<string, string> | undefined;
  for (const [name, raw] of Object.entries(value)) {
    if (Object.hasOwn(properties, name)) {
      given.set(name, raw);
      continue;
    }
    lowered ??= new Map(Object.keys(properties).map((known) => [known.toLowerCase(), known]));
    const known = lowered.get(name.toLowerCase());
    if (known && !given.has(known)) given.set(known, raw);
  }
  return given;
}

function decodeMap(schema: Node, value: object, field: string): Record<string, unknown> {
  const of = schema.additionalProperties;
  // fromEntries defines properties; assignment would let a `__proto__` key change the prototype.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, of ? decode(of, item, field) : item]));
}

function zero(schema: Node): unknown {
  switch (schema.type) {
    case 'string':
      return '';
    case 'boolean':
      return false;
    case 'integer':
    case 'number':
      return 0;
    case 'array':
      return Array.isArray(schema.items) ? schema.items.map(zero) : [];
    case 'object':
      return schema.properties ? decodeStruct(schema, {}) : {};
    default:
      return undefined;
  }
}

function mismatch(schema: Node, value: unknown, field: string): TareError {
  const where = field ? `Go struct field ${field.replace(/^\./, '')}` : 'Go value';
  const number = typeof value === 'number' && schema.type === 'integer' ? ` ${value}` : '';
  return new TareError(
    'InvalidArgument',
    `invalid JSON: json: cannot unmarshal ${wireName(value)}${number} into ${where} of type ${goName(schema)}`,
  );
}

function wireName(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function goName(schema: Node): string {
  switch (schema.type) {
    case 'boolean':
      return 'bool';
    case 'integer':
      return 'int64';
    case 'number':
      return 'float64';
    case 'array':
      return Array.isArray(schema.items) ? `[${schema.items.length}]uint` : `[]${goName(schema.items ?? {})}`;
    case 'object':
      if (schema.title) return schema.title;
      return schema.properties ? 'struct' : `map[string]${goName(schema.additionalProperties ?? {})}`;
    default:
      return schema.type ?? 'interface {}';
  }
}
