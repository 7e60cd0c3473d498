import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { BuildSession } from '../../../build/index.ts';
import { kindOf, TareError } from '../../../errors/index.ts';
import { auth, health, secrets, ssh } from '../../../protocol/index.ts';
import { callDuplex } from '../session/call-duplex.ts';
import { becomeHttp2 } from '../session/http2-connection.ts';
import { decodeBytesMessage, encodeBytesHead } from '../session/packet.ts';
import { ReceivedFolder } from '../session/received-folder.ts';
import { sendFolder } from '../session/send-folder.ts';
import { serveContent } from './serve-content.ts';
import { ServedCall } from './served-call.ts';

const WINDOW_BYTES = 4 << 20;
const PIECE_BYTES = 1 << 20;
const MAX_CALLS = 256;

/** What a session is served with. */
export interface ServedSession {
  session: BuildSession;
  /** Whether an exporter sends a folder, not a file, by its position among the exporters. */
  isFolder(exporterID: string): boolean;
}

interface Call {
  call: ServedCall;
  /** The values of a header, in order. */
  values(name: string): readonly string[];
  signal: AbortSignal;
  /** Told of what this side could not do. */
  note(error: unknown): void;
}

type Method = (served: ServedSession, call: Call) => Promise<void>;

/** By their paths, as a client announces them. */
const methods: Readonly<Record<string, Method>> = {
  '/moby.filesync.v1.FileSync/DiffCopy': sendDirectory,
  '/moby.filesync.v1.FileSend/DiffCopy': receiveExport,
  '/moby.filesync.v1.Auth/Credentials': tellCredentials,
  '/moby.buildkit.secrets.v1.Secrets/GetSecret': tellSecret,
  '/moby.sshforward.v1.SSH/CheckAgent': checkAgent,
  '/moby.sshforward.v1.SSH/ForwardAgent': forwardAgent,
  '/moby.upload.v1.Upload/Pull': sendUpload,
  '/containerd.services.content.v1.Content/Info': (served, call) =>
    serveContent('Info', storeOf(served, call), call.call),
  '/containerd.services.content.v1.Content/Read': (served, call) =>
    serveContent('Read', storeOf(served, call), call.call),
  '/containerd.services.content.v1.Content/Write': (served, call) =>
    serveContent('Write', storeOf(served, call), call.call),
  '/grpc.health.v1.Health/Check': answerHealth,
};

/** What a session offers, for its introduction. */
export const sessionMethods: readonly string[] = Object.keys(methods);

/**
 * Serves a build's session to the daemon at the other end of a connection, until that is closed.
 * @param note told of results that could not be written
 */
export function serveSession(connection: Duplex, served: ServedSession, note: (error: unknown) => void): Disposable {
  const server = createServer({
    settings: { initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: MAX_CALLS, enablePush: false },
  });
  server.on('sessionError', () => {}); // the connection closes
  server.on('stream', (stream, headers, _flags, raw) => {
    void answer(served, stream as ServerHttp2Stream, headers[':path'] ?? '', raw as unknown as string[], note);
  });
  connection.once('end', () => connection.destroy());
  connection.on('error', () => {}); // 'close' follows
  server.emit('connection', becomeHttp2(connection));
  return {
    [Symbol.dispose]: () => {
      connection.destroy();
      server.close();
    },
  };
}

async function answer(
  served: ServedSession,
  stream: ServerHttp2Stream,
  path: string,
  raw: readonly string[],
  note: (error: unknown) => void,
): Promise<void> {
  const call = new ServedCall(stream, path);
  const gone = new AbortController();
  stream.once('close', () => gone.abort(new TareError('Unavailable', `${path}: the daemon does not want it any more`)));
  try {
    const method = Object.hasOwn(methods, path) ? methods[path] : undefined;
    if (method === undefined) throw new TareError('Unsupported', `unknown method ${path}`);
    await method(served, { call, signal: gone.signal, note, values: (name) => valuesIn(raw, name) });
    call.end();
  } catch (error) {
    call.fail(error);
  }
}

/** Node joins fields of one name, which patterns with commas would not survive. */
function valuesIn(raw: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) if (raw[at] === name) values.push(raw[at + 1]!);
  return values;
}

/** Texts that a header cannot hold come in the form of a query, and a second header says so. */
function texts({ values }: Call, name: string): readonly string[] {
  const given = values(name);
  if (values(`${name}-encoded`).length === 0) return given;
  return given.map((value) => decodeURIComponent(value.replaceAll('+', ' ')));
}

async function sendDirectory({ session }: ServedSession, call: Call): Promise<void> {
  const [name = ''] = texts(call, 'dir-name');
  await using folder = await session.folder(
    name,
    {
      includePatterns: texts(call, 'include-patterns'),
      excludePatterns: texts(call, 'exclude-patterns'),
      followPaths: texts(call, 'followpaths'),
    },
    call.signal,
  );
  await sendFolder(call.call, folder);
}

async function receiveExport(served: ServedSession, call: Call): Promise<void> {
  const { session, isFolder } = served;
  const [id = '0'] = call.values('buildkit-attachable-exporter-id');
  try {
    if (isFolder(id)) {
      await using folder = new ReceivedFolder(call.call);
      await session.sendFolder(id, folder, call.signal);
      return;
    }
    await using sink = await session.fileSink(id, {});
    for await (const batch of call.call.batches())
      for (const message of batch) await sink.write(decodeBytesMessage(message));
    await sink.close();
  } catch (error) {
    // That the daemon broke it off, the daemon tells.
    if (kindOf(error) !== 'Unavailable') call.note(error);
    throw error;
  }
}

async function tellCredentials({ session }: ServedSession, { call }: Call): Promise<void> {
  const { Host } = fromBinary(auth.CredentialsRequestSchema, await call.message());
  const found = await session.credentials(Host);
  const answer = create(auth.CredentialsResponseSchema, {
    Username: found?.username ?? '',
    Secret: found?.secret ?? '',
  });
  await call.send(toBinary(auth.CredentialsResponseSchema, answer));
}

async function tellSecret({ session }: ServedSession, { call }: Call): Promise<void> {
  const { ID } = fromBinary(secrets.GetSecretRequestSchema, await call.message());
  const data = await session.secret(ID);
  await call.send(toBinary(secrets.GetSecretResponseSchema, create(secrets.GetSecretResponseSchema, { data })));
}

async function checkAgent({ session }: ServedSession, { call }: Call): Promise<void> {
  const { ID } = fromBinary(ssh.CheckAgentRequestSchema, await call.message());
  await session.requireSshAgent(ID);
  await call.send(toBinary(ssh.CheckAgentResponseSchema, create(ssh.CheckAgentResponseSchema)));
}

async function forwardAgent({ session }: ServedSession, { call, values }: Call): Promise<void> {
  const [id = 'default'] = values('buildkit.ssh.id');
  const agent = await session.sshAgent(id);
  const asked = callDuplex(call);
  await Promise.allSettled([pipeline(asked, agent), pipeline(agent, asked)]);
}

async function sendUpload({ session }: ServedSession, { call, values }: Call): Promise<void> {
  const [path = ''] = values('urlpath');
  for await (const chunk of session.upload(path.replace(/^\//, ''))) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_BYTES);
      await call.send(encodeBytesHead(piece.length), piece);
    }
  }
}

const storeOf = ({ session }: ServedSession, { values }: Call) =>
  session.contentStore(values('buildkit-attachable-store-id')[0] ?? '');

async function answerHealth(_served: ServedSession, { call }: Call): Promise<void> {
  await call.message();
  const answer = create(health.HealthCheckResponseSchema, {
    status: health.HealthCheckResponse_ServingStatus.SERVING,
  });
  await call.send(toBinary(health.HealthCheckResponseSchema, answer));
}
