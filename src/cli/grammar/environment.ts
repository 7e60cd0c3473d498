import { readFileSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';

/**
 * Environment for a container: files first, then `-e`. A name without `=` takes the value from our own environment; when it is not
 * there, `-e NAME` stays bare (it removes the image's variable) and a file's line is dropped.
 *
 * @throws {TareError} InvalidArgument: an empty name, or a name with white space in a file (with its line)
 */
export function readEnvironment(
  files: readonly string[],
  given: readonly string[],
  own: NodeJS.ProcessEnv = process.env,
): string[] {
  const result: string[] = [];
  for (const file of files)
    for (const line of readLines(file, 'env file')) {
      const equals = line.indexOf('=');
      if (equals >= 0) result.push(line);
      else if (own[line] !== undefined) result.push(`${line}=${own[line]}`);
    }
  for (const word of given) {
    if (word === '' || word.startsWith('='))
      throw new TareError(
        'InvalidArgument',
        `invalid environment variable ${JSON.stringify(word)}: expected NAME=VALUE or NAME`,
      );
    result.push(!word.includes('=') && own[word] !== undefined ? `${word}=${own[word]}` : word);
  }
  return result;
}

/** Labels from files, then from options; a bare key has the value ''. @throws {TareError} InvalidArgument */
export function readLabels(files: readonly string[], given: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const line of [...files.flatMap((file) => readLines(file, 'label file')), ...given]) {
    const [key = '', value = ''] = line.split(/=(.*)/s);
    if (key === '')
      throw new TareError('InvalidArgument', `invalid label ${JSON.stringify(line)}: expected KEY=VALUE or KEY`);
    labels[key] = value;
  }
  return labels;
}

/** `key=value` options as a record. @throws {TareError} InvalidArgument: no `=` */
export function pairs(given: readonly string[], flag: string): Record<string, string> {
  const record: Record<string, string> = {};
  for (const word of given) {
    const [key = '', value] = word.split(/=(.*)/s);
    if (key === '' || value === undefined)
      throw new TareError(
        'InvalidArgument',
        `invalid argument ${JSON.stringify(word)} for ${flag}: expected KEY=VALUE`,
      );
    record[key] = value;
  }
  return record;
}

function readLines(file: string, what: string): string[] {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    throw new TareError('InvalidArgument', `cannot read ${what} ${JSON.stringify(file)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const lines: string[] = [];
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '').replace(/^\s+/, '');
    if (line === '' || line.startsWith('#')) continue;
    const name = line.split('=', 1)[0]!;
    if (name === '' || /\s/.test(name))
      throw new TareError(
        'InvalidArgument',
        `invalid line ${i + 1} in ${what} ${JSON.stringify(file)}: ${JSON.stringify(name)} is not a name (NAME=VALUE)`,
      );
    lines.push(line);
  }
  return lines;
}
