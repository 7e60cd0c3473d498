import { randomUUID } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { createConnection } from 'node:net';
import type { Duplex } from 'node:stream';
import { type BuildSession, type ExportSink, openLocalFolder } from '../../build/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';
import { openCredentials } from '../../image/index.ts';
import { fillFolder } from './fill-folder.ts';
import { openLayoutStore } from './layout-store.ts';
import type { OutputDestination, SecretSource, SessionOptions } from './session-options.ts';

/** As BuildKit's clients bound them. */
const MAX_SECRET_BYTES = 500 * 1024;

/** The session of a build that this process asks for itself. It ends when it is disposed. */
export function openLocalSession(options: SessionOptions): BuildSession & AsyncDisposable {
  const ending = new AbortController();
  const id = randomUUID();
  const credentials = options.asUser === true ? openCredentials() : undefined;
  const uploads = new Map(Object.entries(options.uploads ?? {}));
  return {
    id,
    sharedKey: options.sharedKey ?? '',
    isOneTime: options.isOneTime === true,
    ended: ending.signal,
    folder: async (name, filter, signal) => {
      const directory = own(options.folders, name);
      if (directory === undefined) throw new TareError('NotFound', `no access allowed to dir ${JSON.stringify(name)}`);
      return await openLocalFolder(directory, filter, AbortSignal.any([signal, ending.signal]));
    },
    secret: async (secretID) => {
      const source = own(options.secrets, secretID);
      if (source === undefined) throw new TareError('NotFound', `secret ${secretID}: not found`);
      return await readSecret(secretID, source);
    },
    requireSshAgent: async (agentID) => void agentPath(options, agentID),
    sshAgent: async (agentID) => await connectAgent(agentPath(options, agentID)),
    credentials: async (host) => {
      // Builders ask for docker.io by the host that serves it.
      const domain = host === 'registry-1.docker.io' ? 'docker.io' : host;
      const given = own(options.registryAuth, domain);
      if (given !== undefined) return given;
      const found = await credentials?.(domain);
      if (found === undefined) return undefined;
      if (found.identityToken !== undefined) return { username: '', secret: found.identityToken };
      return { username: found.username ?? '', secret: found.password ?? '' };
    },
    fileSink: async (exporterID) => await openSink(exporterID, own(options.outputs, exporterID)),
    sendFolder: async (exporterID, folder, signal) => {
      const output = own(options.outputs, exporterID);
      if (output === undefined || !('folder' in output))
        throw new TareError('InvalidArgument', `output ${exporterID}: a folder is needed: name one by dest`);
      await fillFolder(output.folder, folder, signal);
    },
    upload: (uploadID) => {
      const body = uploads.get(uploadID);
      if (body === undefined)
        throw new TareError('NotFound', `no upload ${JSON.stringify(uploadID)}, or it was read before`);
      uploads.delete(uploadID);
      return body;
    },
    contentStore: (storeID) => {
      const folder = own(options.contentStores, storeID);
      if (folder === undefined) throw new TareError('NotFound', `unknown store ID ${JSON.stringify(storeID)}`);
      return openLayoutStore(folder);
    },
    [Symbol.asyncDispose]: async () => ending.abort(new TareError('Unavailable', 'the session of the build has ended')),
  };
}

/** Names come from frontends: what every object inherits is none of them. */
const own = <T>(table: Readonly<Record<string, T>> | undefined, key: string): T | undefined =>
  table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined;

async function readSecret(id: string, source: SecretSource): Promise<Uint8Array> {
  let bytes: Uint8Array;
  if ('bytes' in source) bytes = source.bytes;
  else if ('variable' in source) {
    const value = process.env[source.variable];
    if (value === undefined)
      throw new TareError('NotFound', `secret ${id}: the variable ${source.variable} is not set`);
    bytes = Buffer.from(value);
  } else {
    try {
      const { size } = await stat(source.file);
      bytes = size > MAX_SECRET_BYTES ? Buffer.alloc(MAX_SECRET_BYTES + 1) : await readFile(source.file);
    } catch (cause) {
      throw new TareError('NotFound', `secret ${id}: cannot read ${source.file}: ${messageOf(cause)}`, { cause });
    }
  }
  if (bytes.length <= MAX_SECRET_BYTES) return bytes;
  throw new TareError(
    'InvalidArgument',
    `secret ${id} is larger than the ${MAX_SECRET_BYTES / 1024} KiB that are allowed`,
  );
}

function agentPath({ sshAgents = {} }: SessionOptions, id: string): string {
  if (!Object.hasOwn(sshAgents, id)) throw new TareError('NotFound', `unset ssh forward key ${id}`);
  const path = sshAgents[id] ?? process.env['SSH_AUTH_SOCK'];
  if (path !== undefined && path !== '') return path;
  throw new TareError('NotFound', `ssh agent ${id}: SSH_AUTH_SOCK is not set: start an agent, or name its socket`);
}

async function connectAgent(path: string): Promise<Duplex> {
  const connection = createConnection(path);
  try {
    await new Promise<void>((resolve, reject) => {
      connection.once('connect', resolve);
      connection.once('error', reject);
    });
  } catch (cause) {
    connection.destroy();
    throw new TareError(
      'Unavailable',
      `ssh agent at ${path}: ${messageOf(cause)}: want the socket of an agent (keys are added to one by ssh-add)`,
      {
        cause,
      },
    );
  }
  return connection;
}

async function openSink(exporterID: string, output: OutputDestination | undefined): Promise<ExportSink> {
  if (output === undefined || 'folder' in output)
    throw new TareError('InvalidArgument', `output ${exporterID}: a file is needed: name one by dest`);
  if ('write' in output)
    return { write: (chunk) => output.write(chunk), close: () => output.end(), [Symbol.asyncDispose]: async () => {} };
  const file = await open(output.file, 'w', 0o666);
  return {
    write: async (chunk) => {
      for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
    },
    close: () => file.close(),
    // Closed twice is no error of ours.
    [Symbol.asyncDispose]: () => file.close().catch(() => {}),
  };
}
