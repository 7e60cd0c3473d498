import { messageOf } from '../errors/index.ts';
import type { Context } from './command.ts';
import { execute } from './template/execute.ts';
import { parseTemplate } from './template/parse.ts';
import { goJson } from './template/text.ts';

/**
 * Prints objects as docker's `inspect`: a JSON list, or each through a template. What cannot be found is reported on standard
 * error, the others are printed.
 *
 * @param fetch @throws {TareError} NotFound
 * @returns exit code: 1 when any failed
 */
export async function inspectObjects(
  context: Context,
  names: readonly string[],
  format: string | undefined,
  fetch: (name: string) => Promise<unknown>,
): Promise<number> {
  const template = format === undefined || format === '' || format === 'json' ? undefined : parseTemplate(format);
  const objects: unknown[] = [];
  const problems: string[] = [];
  for (const name of names) {
    try {
      const object = await fetch(name);
      if (template) context.out(`${execute(template, object)}\n`);
      else objects.push(object);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  if (!template) context.out(format === 'json' ? `${goJson(objects)}\n` : `${JSON.stringify(objects, null, 4)}\n`);
  for (const problem of problems) context.err(`tare: ${problem}\n`);
  return problems.length > 0 ? 1 : 0;
}
