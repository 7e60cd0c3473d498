import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { caps, control, gateway, trace } from '../src/protocol/index.ts';
import { serveUnix } from './unix-server.ts';

const END_OF_HEADERS = '\r\n\r\n';
const UPGRADED = 'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
/** More than all entries are: the client never waits. */
const WINDOW_BYTES = 64 << 20;
/** A message of no bytes, a packet that says nothing: it stands behind the last entry. */
const END_OF_ENTRIES = Buffer.alloc(5);
/** The message of a packet of type FIN: nothing more is wanted. */
const FAREWELL = Buffer.from([0, 0, 0, 0, 2, 0x08, 3]);

/**
 * A server that has docker's client say what there is in a build's context, drops it, wants no file of it, and calls the build done: what
 * the client takes by itself for a context that has not changed. What is not about builds is asked of an engine.
 *
 * @param path of its socket
 * @param socketPath of the engine
 */
export async function dropContexts(path: string, socketPath: string): Promise<AsyncDisposable> {
  const sessions = new Map<string, ClientHttp2Session>();
  const builds = createHttp2Server(buildServices(sessions));
  return await serveUnix(path, async (socket) => {
    const head = await headOf(socket);
    if (head.startsWith('POST /grpc ')) {
      socket.write(UPGRADED);
      builds.emit('connection', socket);
    } else if (head.startsWith('POST /session ')) {
      socket.write(UPGRADED);
      sessions.set(/^x-docker-expose-session-uuid: (.+)\r$/im.exec(head)?.[1] ?? '', sessionOver(socket));
    } else {
      const engine = connect(socketPath);
      engine.on('error', () => socket.destroy());
      engine.write(head, 'latin1');
      socket.pipe(engine).pipe(socket);
    }
  });
}

/** The first request on a connection, with what came of its body; empty: there was none. */
async function headOf(socket: Socket): Promise<string> {
  let head = '';
  while (!head.includes(END_OF_HEADERS)) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) head += chunk.toString('latin1');
    else if (socket.readableEnded || socket.destroyed) return '';
    else await Promise.race([once(socket, 'readable'), once(socket, 'close')]);
  }
  return head;
}

function sessionOver(socket: Socket): ClientHttp2Session {
  const session = connectHttp2('http://localhost', {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.on('error', () => {}); // it ends with the client
  session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
  return session;
}

/** A build as its client and its calls know it. */
interface Running {
  sessionID: string;
  over: PromiseWithResolvers<void>;
}

/** Of BuildKit's services as little as docker's client builds with: it asks for a build, and for the Dockerfile's result as a part of it. */
function buildServices(sessions: ReadonlyMap<string, ClientHttp2Session>) {
  const running = new Map<string, Running>();
  /** A client asks for its build and for the build's progress at once. */
  const find = (ref: string): Running => {
    const build = running.get(ref) ?? { sessionID: '', over: Promise.withResolvers<void>() };
    running.set(ref, build);
    return build;
  };
  const ofCall = ({ requestHeader }: HandlerContext) => find(requestHeader.get('buildkit-controlapi-buildid') ?? '');
  const controls: Partial<ServiceImpl<typeof control.Control>> = {
    info: () => ({ buildkitVersion: { package: 'floor', version: 'v0.25.0', revision: '' } }),
    listWorkers: () => ({ record: [{ platforms: [] }] }),
    async solve({ Ref, Session }) {
      const build = find(Ref);
      build.sessionID = Session;
      await build.over.promise;
      return {};
    },
    async *status({ Ref }) {
      await find(Ref).over.promise;
      yield create(control.StatusResponseSchema);
    },
  };
  const bridge: Partial<ServiceImpl<typeof gateway.LLBBridge>> = {
    ping: () => ({
      FrontendAPICaps: ['solve.base', 'return', 'proto.refarray'].map((ID) =>
        create(caps.APICapSchema, { ID, Enabled: true }),
      ),
      Workers: [{ platforms: [] }],
    }),
    async solve(_request, context) {
      const session = sessions.get(ofCall(context).sessionID);
      if (session === undefined) throw new Error('a build whose client has opened no session');
      await dropFolder(session, 'context');
      return {};
    },
    return(_request, context) {
      ofCall(context).over.resolve();
      return {};
    },
  };
  return connectNodeAdapter({
    connect: false,
    grpcWeb: false,
    routes(router) {
      router.service(control.Control, controls);
      router.service(gateway.LLBBridge, bridge);
      router.service(trace.TraceService, { export: () => ({}) });
    },
  });
}

/** Has a client say what is in a folder of its (fsutil's protocol, over `FileSync.DiffCopy`). */
async function dropFolder(session: ClientHttp2Session, name: string): Promise<void> {
  const call = session.request({
    ':method': 'POST',
    ':path': '/moby.filesync.v1.FileSync/DiffCopy',
    'content-type': 'application/grpc',
    te: 'trailers',
    'dir-name': name,
  });
  let last = Buffer.alloc(0);
  call.on('data', (chunk: Buffer) => {
    last = Buffer.concat([last, chunk.subarray(-END_OF_ENTRIES.length)]).subarray(-END_OF_ENTRIES.length);
    if (last.equals(END_OF_ENTRIES)) call.write(FAREWELL);
  });
  call.once('trailers', () => call.end());
  await once(call, 'close');
}
