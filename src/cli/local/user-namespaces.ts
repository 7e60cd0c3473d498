import { makeNamespaces } from '../../engine/index.ts';
import type { holderNote, UserFolders } from '../rootless.ts';

/** Makes the namespaces that an ordinary user's commands enter. @returns a process that is in them */
export const makeUserNamespaces = ({ namespaces }: UserFolders, note: ReturnType<typeof holderNote>): Promise<number> =>
  makeNamespaces(namespaces, note);
