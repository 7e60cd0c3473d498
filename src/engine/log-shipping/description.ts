import { TareError } from '../../errors/index.ts';
import { BoundedPattern } from '../../storage/index.ts';

/** What a container's lines may say of where they come from. */
export interface LogSource {
  id: string;
  name: string;
  /** As the image was asked for. */
  imageName: string;
  imageId: string;
  command: readonly string[];
  createdMs: number;
  labels: Readonly<Record<string, string>>;
  /** `NAME=VALUE` */
  env: readonly string[];
}

/** What images say may be long; each line carries it. */
const MAX_ATTRIBUTES = 64;
const MAX_VALUE_LENGTH = 4096;
const SHORT_ID = 12;
const short = (id: string): string => id.replace(/^sha256:/, '').slice(0, SHORT_ID);

const fields: Record<string, (source: LogSource) => string> = {
  ID: ({ id }) => short(id),
  FullID: ({ id }) => id,
  Name: ({ name }) => name,
  ImageID: ({ imageId }) => short(imageId),
  ImageFullID: ({ imageId }) => imageId,
  ImageName: ({ imageName }) => imageName,
  Command: ({ command }) => command.join(' '),
  // The drivers' documentation says this name, whatever the engine.
  DaemonName: () => 'docker',
};

/**
 * The option `tag`: text with fields such as `{{.Name}}/{{.ID}}`. Nothing else of Go's templates is taken.
 * @returns makes the tag of a container
 * @throws {TareError} InvalidArgument
 */
export function parseTag(template = '{{.ID}}'): (source: LogSource) => string {
  const pieces = template.split(/(\{\{.*?\}\})/s).map((piece) => {
    if (!piece.startsWith('{{')) return () => piece;
    const name = /^\{\{-?\s*\.(\w+)\s*-?\}\}$/.exec(piece)?.[1] ?? '';
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field !== undefined) return field;
    throw new TareError(
      'InvalidArgument',
      `log opt tag: ${piece} is none of ${Object.keys(fields)
        .map((known) => `{{.${known}}}`)
        .join(', ')}`,
    );
  });
  return (source) => pieces.map((piece) => piece(source)).join('');
}

/**
 * The labels and variables that `labels`, `labels-regex`, `env` and `env-regex` choose, in the order labels, variables.
 * @throws {TareError} InvalidArgument: no regular expression, or one that may not end
 */
export function chosenAttributes(options: Readonly<Record<string, string>>): (source: LogSource) => [string, string][] {
  const labels = chooser(options, 'labels');
  const env = chooser(options, 'env');
  return ({ labels: all, env: variables }) => {
    const pairs = variables.map((variable) => variable.split(/=(.*)/s, 2) as [string, string?]);
    const chosen = new Map<string, string>();
    for (const [name, value] of Object.entries(all)) if (labels(name)) chosen.set(name, value);
    for (const [name, value] of pairs) if (env(name)) chosen.set(name, value ?? '');
    return [...chosen].slice(0, MAX_ATTRIBUTES).map(([name, value]) => [name, value.slice(0, MAX_VALUE_LENGTH)]);
  };
}

function chooser(options: Readonly<Record<string, string>>, option: 'labels' | 'env'): (name: string) => boolean {
  const names = new Set((options[option] ?? '').split(',').filter((name) => name !== ''));
  const pattern = options[`${option}-regex`];
  if (pattern === undefined || pattern === '') return (name) => names.has(name);
  let expression: BoundedPattern;
  try {
    expression = new BoundedPattern(pattern);
  } catch (error) {
    throw new TareError('InvalidArgument', `log opt ${option}-regex: ${(error as Error).message}`);
  }
  return (name) => names.has(name) || expression.test(name);
}
