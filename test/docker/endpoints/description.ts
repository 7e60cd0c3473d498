import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string | string[];
  enum?: unknown[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
  items?: Schema;
  'x-nullable'?: boolean;
}

interface Operation {
  query?: string[];
  headers?: string[];
  produces?: string[];
  answers?: Record<string, Schema>;
}

interface Description {
  paths: Record<string, Record<string, Operation>>;
  definitions: Record<string, Schema>;
}

const description = parse(readFileSync(join(import.meta.dirname, 'docker-api-1.51.yaml'), 'utf8')) as Description;

/** `METHOD /path` → its query parameters and statuses, in the description's order. */
export const operations: ReadonlyMap<string, Operation> = new Map(
  Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
  ),
);

// Where docker's engine says null though it is not described: not given, or not yet known.
const { Resources: limits } = description.definitions;
for (const property of [
  limits?.properties?.['MemorySwappiness'],
  limits?.properties?.['OomKillDisable'],
  operations.get('GET /exec/{id}/json')?.answers?.[200]?.properties?.['ExitCode'],
]) {
  if (property === undefined) throw new Error('the description has no such property any more');
  property['x-nullable'] = true;
}

// It asks for a field that it does not have.
const image = description.definitions['ImageManifestSummary']?.properties?.['ImageData'];
if (!image?.required?.includes('UnpackedSize')) throw new Error('the description has been mended: leave this out');
image.required = image.required.filter((name) => name !== 'UnpackedSize');

const ajv = new Ajv({ allErrors: true, strict: false });
const checks = new Map<string, ValidateFunction>();

/**
 * What a JSON answer has against its description.
 *
 * Go writes null for lists, maps and structs that are not there, so null is right for these; for text and numbers it is not. A field
 * that the description does not know is wrong too.
 *
 * @returns undefined: nothing
 */
export function objectionTo(operation: string, status: number, body: unknown): string | undefined {
  // Conflicts and bad input are answered in more places than are described.
  const undescribed = status >= 400 ? { $ref: '#/definitions/ErrorResponse' } : undefined;
  const schema = operations.get(operation)?.answers?.[status] ?? undescribed;
  if (schema === undefined) return `${operation} is not described to answer ${status}`;
  const key = `${operation} ${status}`;
  let check = checks.get(key);
  if (check === undefined) {
    check = ajv.compile({ ...closed(schema), definitions: closedDefinitions });
    checks.set(key, check);
  }
  if (check(body)) return undefined;
  return (check.errors ?? [])
    .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
    .join('\n');
}

const closedDefinitions = Object.fromEntries(
  Object.entries(description.definitions).map(([name, schema]) => [name, closed(schema)]),
);

/** The same, with null where Go may have it, and without fields that nobody described. */
function closed(schema: Schema): object {
  if (schema.$ref !== undefined) return { $ref: schema.$ref };
  const { allOf, type, items, properties, additionalProperties, enum: values, required } = merged(schema);
  const isNullable = schema['x-nullable'] === true || (type !== undefined && /^(array|object)$/.test(String(type)));
  return {
    ...(type !== undefined && { type: isNullable ? [type, 'null'] : type }),
    // Of an enumeration's values '' is the one for "not said".
    ...(values !== undefined && { enum: [...new Set([...values, '', ...(isNullable ? [null] : [])])] }),
    ...(items !== undefined && { items: closed(items) }),
    ...(properties !== undefined && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, of]) => [name, closed(of)])),
    }),
    ...(required !== undefined && { required }),
    ...(typeof additionalProperties === 'object'
      ? { additionalProperties: closed(additionalProperties) }
      : properties !== undefined && { additionalProperties: false }),
    ...(allOf !== undefined && { allOf }),
  };
}

/** One object of what `allOf` puts together. */
function merged(schema: Schema): Schema {
  if (schema.allOf === undefined) return schema;
  const parts = schema.allOf.map((part) => merged(part.$ref === undefined ? part : resolve(part.$ref)));
  const { allOf: _parts, ...own } = schema;
  const all = [...parts, own];
  const required = all.flatMap((part) => part.required ?? []);
  const properties = Object.assign({}, ...all.map((part) => part.properties ?? {}));
  return Object.assign({}, ...all, {
    ...(Object.keys(properties).length > 0 && { type: 'object', properties }),
    ...(required.length > 0 && { required }),
  });
}

function resolve(reference: string): Schema {
  const found = description.definitions[reference.split('/').at(-1)!];
  if (found === undefined) throw new Error(`the description has no ${reference}`);
  return found;
}
