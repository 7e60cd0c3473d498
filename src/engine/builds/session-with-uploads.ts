import type { BuildSession } from '../../build/index.ts';

/** A client's session, and bodies that it sent by another way. */
export function sessionWithUploads(
  session: BuildSession,
  uploads: Readonly<Record<string, AsyncIterable<Uint8Array>>>,
): BuildSession {
  return {
    id: session.id,
    sharedKey: session.sharedKey,
    owner: session.owner,
    isOneTime: session.isOneTime === true,
    ended: session.ended,
    ...(session.sibling && { sibling: session.sibling.bind(session) }),
    folder: (...args) => session.folder(...args),
    secret: (id) => session.secret(id),
    requireSshAgent: (id) => session.requireSshAgent(id),
    sshAgent: (id) => session.sshAgent(id),
    credentials: (host) => session.credentials(host),
    fileSink: (...args) => session.fileSink(...args),
    sendFolder: (...args) => session.sendFolder(...args),
    upload: (id) => (Object.hasOwn(uploads, id) ? uploads[id]! : session.upload(id)),
    contentStore: (id) => session.contentStore(id),
  };
}
