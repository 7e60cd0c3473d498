import { kindOf } from '../errors/index.ts';
import type { BuildSession } from './session.ts';

/** What the first session gives that has what is asked for; clients need not have such things at all. @returns undefined: none has it */
export async function firstSession<T>(
  sessions: readonly BuildSession[],
  ask: (session: BuildSession) => Promise<T>,
): Promise<T | undefined> {
  for (const session of sessions) {
    try {
      return await ask(session);
    } catch (error) {
      if (!['NotFound', 'Unsupported'].includes(kindOf(error))) throw error;
    }
  }
  return undefined;
}
