import { messageOf } from '../errors/index.ts';
import type { Context } from './command.ts';
import type { Query } from './transport/client.ts';

const AT_ONCE = 16;

/**
 * Does one thing to several objects, some at once, and prints each one's line in the order given. A failure does not keep the
 * others from being done.
 *
 * @param action returns the line to print, undefined for none
 * @returns exit code: 1 when any failed
 */
export async function forEach(
  context: Context,
  names: readonly string[],
  action: (name: string) => Promise<string | undefined>,
): Promise<number> {
  const results: Promise<string | undefined>[] = [];
  const running = new Set<Promise<unknown>>();
  let code = 0;
  const collect = async (result: Promise<string | undefined>) => {
    try {
      const line = await result;
      if (line !== undefined) context.out(`${line}\n`);
    } catch (error) {
      context.err(`tare: ${messageOf(error)}\n`);
      code = 1;
    }
  };
  for (const name of names) {
    if (running.size >= AT_ONCE) await Promise.race(running);
    const result = action(name);
    results.push(result);
    const settled: Promise<unknown> = result.catch(() => {}).finally(() => running.delete(settled));
    running.add(settled);
  }
  for (const result of results) await collect(result);
  return code;
}

/** Sends `POST /containers/NAME/VERB` for each container, as `forEach` does, and prints their names. */
export async function postEach(
  context: Context,
  names: readonly string[],
  verb: 'kill' | 'pause' | 'restart' | 'stop' | 'unpause',
  query: Query = {},
): Promise<number> {
  const client = await context.connect();
  return await forEach(context, names, async (name) => {
    await client.json('POST', `/containers/${segment(name)}/${verb}`, { query });
    return name;
  });
}

/** A name or id as a part of a path; docker's leading slash of a name is dropped. */
export function segment(name: string): string {
  return encodeURIComponent(name.replace(/^\//, ''));
}
