import { TareError } from '../../errors/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Operation, OperationContext } from '../operation.ts';
import type { BuildSession, FolderFilter } from '../session.ts';
import { SharedWorks } from '../solver/shared-work.ts';
import type { Tree } from '../tree.ts';
import { type HeldFolder, receiveKept } from './local/kept-folder.ts';
import { type Attributes, pickSession, refuseUnknown, textList } from './source-attributes.ts';

const PROGRESS_MS = 100;

/** Folders of a session, by what was asked of it: several builds of one client ask for the same. */
interface SessionFolders {
  /** Being sent, for as long as one of those builds wants it. */
  readonly coming: SharedWorks<HeldFolder>;
  readonly here: Map<string, HeldFolder>;
}

const foldersBy = new WeakMap<BuildSession, SessionFolders>();

function foldersOf(session: BuildSession): SessionFolders {
  const known = foldersBy.get(session) ?? { coming: new SharedWorks(), here: new Map() };
  foldersBy.set(session, known);
  return known;
}

/**
 * A client's folder. What was sent stays for the next build, and then only what changed is sent. In one session the same question is
 * asked once; what it holds is let go when the session ends.
 */
export function localSource(parts: BuilderParts, name: string, attributes: Attributes): Operation {
  refuseUnknown('local source', attributes, [
    ...['local.session', 'local.includepattern', 'local.followpaths', 'local.excludepatterns', 'local.sharedkeyhint'],
    ...['local.differ', 'local.metadatatransfer', 'local.metadatatransferexclude', 'local.unique'],
  ]);
  const sessionID = attributes['local.session'];
  const filter: FolderFilter = {
    ...textList(attributes, 'local.includepattern', 'includePatterns'),
    ...textList(attributes, 'local.excludepatterns', 'excludePatterns'),
    ...textList(attributes, 'local.followpaths', 'followPaths'),
  };
  const hint = attributes['local.sharedkeyhint'] ?? '';
  const differ = attributes['local.differ'] ?? 'metadata';
  if (differ !== 'none' && differ !== 'metadata')
    throw new TareError('InvalidArgument', `local.differ ${JSON.stringify(differ)}: want none or metadata`);
  const question = JSON.stringify([name, filter, hint, differ]);
  return {
    recordType: 'source.local',
    description: `local source for ${name}`,
    isEphemeral: true,
    cacheMap: async (context) => {
      const session = await pickSession(context, sessionID);
      return {
        digest: digestOf(`local source ${session.id} ${question}`),
        dependencies: [],
        material: { kind: 'local', ref: name },
      };
    },
    run: async (_inputs, context) => {
      const session = await pickSession(context, sessionID);
      const { coming, here } = foldersOf(session);
      const ask = async (shared: OperationContext): Promise<HeldFolder> => {
        const held = await receive(parts, session, { name, filter, hint, differ }, shared);
        here.set(question, held);
        return held;
      };
      const { layer } = here.get(question) ?? (await coming.join(question, context, ask));
      return [{ layers: [layer], isRootless: true } satisfies Tree];
    },
  };
}

interface LocalFolder {
  name: string;
  filter: FolderFilter;
  hint: string;
  differ: 'none' | 'metadata';
}

async function receive(
  parts: BuilderParts,
  session: BuildSession,
  { name, filter, hint, differ }: LocalFolder,
  { progress, signal }: OperationContext,
): Promise<HeldFolder> {
  const id = `transferring ${name}:`;
  let current = 0;
  let nextMs = 0;
  progress.status(id, { current });
  const ending = AbortSignal.any([signal, session.ended]);
  const held = await receiveKept(parts, {
    key: JSON.stringify([session.owner ?? '', name, hint, session.sharedKey]),
    description: `local source for ${name}`,
    takesAll: differ === 'none',
    isKept: session.isOneTime !== true,
    send: () => session.folder(name, filter, ending),
    signal: ending,
    onBytes: (bytes) => {
      current += bytes;
      const now = performance.now();
      if (now < nextMs) return;
      nextMs = now + PROGRESS_MS;
      progress.status(id, { current });
    },
  });
  progress.status(id, { current, isDone: true });
  letGoAtEnd(parts, session, name, held);
  return held;
}

function letGoAtEnd({ report }: BuilderParts, session: BuildSession, name: string, held: HeldFolder): void {
  const letGo = async () => {
    try {
      await held[Symbol.asyncDispose]();
    } catch (error) {
      report(`the folder ${name} of a client`, error);
    }
  };
  if (session.ended.aborted) void letGo();
  else session.ended.addEventListener('abort', () => void letGo(), { once: true });
}
