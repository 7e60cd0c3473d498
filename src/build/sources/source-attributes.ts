import { TareError } from '../../errors/index.ts';
import { firstSession } from '../first-session.ts';
import type { OperationContext } from '../operation.ts';
import type { BuildSession } from '../session.ts';

/** What a source is told beside its identifier. */
export type Attributes = Readonly<Record<string, string>>;

/** @throws {TareError} InvalidArgument: an attribute that this kind of source does not know */
export function refuseUnknown(what: string, attributes: Attributes, known: readonly string[]): void {
  const unknown = Object.keys(attributes).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new TareError('InvalidArgument', `${what}: unknown attribute ${JSON.stringify(unknown)}`);
}

/** A list that is sent as JSON, under a name of ours. @throws {TareError} InvalidArgument: it is none */
export function textList<K extends string>(attributes: Attributes, key: string, as: K): Partial<Record<K, string[]>> {
  const text = attributes[key];
  if (text === undefined || text === '') return {};
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    list = undefined;
  }
  if (list === null) return {};
  if (!Array.isArray(list) || !list.every((item) => typeof item === 'string'))
    throw new TareError('InvalidArgument', `${key}: want a list of texts in JSON`);
  return { [as]: list as string[] } as Partial<Record<K, string[]>>;
}

/** @param id none: any will do @throws {TareError} NotFound, Unavailable: there is no such session */
export async function pickSession(
  { sessions, signal }: Pick<OperationContext, 'sessions' | 'signal'>,
  id: string | undefined,
): Promise<BuildSession> {
  const own = sessions();
  const found = id ? own.find((session) => session.id === id) : own[0];
  const picked = found ?? (id ? await own.find((session) => session.sibling)?.sibling?.(id, signal) : undefined);
  if (picked !== undefined) return picked;
  throw new TareError(
    'Unavailable',
    id ? `no active session for ${id}: context deadline exceeded` : 'no active sessions',
  );
}

/** Asks one session after the other. @returns undefined: none has it */
export async function secretOf(sessions: readonly BuildSession[], id: string): Promise<string | undefined> {
  const bytes = await firstSession(sessions, (session) => session.secret(id));
  return bytes && Buffer.from(bytes).toString('utf8');
}
