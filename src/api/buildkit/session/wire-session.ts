import { type ClientHttp2Session, connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type {
  BuildSession,
  ExportSink,
  FolderFilter,
  SentFolder,
  SessionContentStore,
  SessionCredentials,
} from '../../../build/index.ts';
import { kindOf, TareError } from '../../../errors/index.ts';
import { auth, secrets, ssh } from '../../../protocol/index.ts';
import { callDuplex } from './call-duplex.ts';
import { type CallHeaders, callOnce, GrpcCall } from './grpc-call.ts';
import { decodeBytesMessage, encodeBytesHead } from './packet.ts';
import { ReceivedFolder } from './received-folder.ts';
import { RemoteContentStore } from './remote-content-store.ts';
import { sendFolder } from './send-folder.ts';

/** Of one stream, and of all. Go's servers send as much as they are let. */
const STREAM_WINDOW_BYTES = 4 << 20;
const SESSION_WINDOW_BYTES = 16 << 20;
const MAX_SECRET_BYTES = 500 << 10;

/** How a client introduces itself when it opens its session. */
export interface SessionIntroduction {
  id: string;
  sharedKey: string;
  owner: string | undefined;
  /** Paths of what it serves: `/moby.filesync.v1.FileSync/DiffCopy` … */
  methods: ReadonlySet<string>;
  /** Finds other sessions. @throws {TareError} NotFound */
  sibling: NonNullable<BuildSession['sibling']>;
}

/** A client's session over a connection on which the client serves gRPC. */
export class WireSession implements BuildSession, Disposable {
  readonly id: string;
  readonly sharedKey: string;
  readonly owner: string | undefined;
  readonly ended: AbortSignal;
  readonly sibling: NonNullable<BuildSession['sibling']>;
  readonly #methods: ReadonlySet<string>;
  readonly #session: ClientHttp2Session;

  constructor(connection: Duplex, { id, sharedKey, owner, methods, sibling }: SessionIntroduction) {
    this.id = id;
    this.sharedKey = sharedKey;
    this.owner = owner;
    this.#methods = methods;
    this.sibling = sibling;
    const ended = new AbortController();
    this.ended = ended.signal;
    this.#session = connect('http://localhost', {
      createConnection: () => connection,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
    });
    this.#session.on('error', () => {}); // 'close' follows
    this.#session.once('connect', (session) => {
      // A client may be gone before it is told.
      if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    });
    this.#session.once('close', () => ended.abort());
    // A client that has gone closes its side of the connection; ours stays half open.
    for (const gone of ['end', 'close']) connection.once(gone, () => this.#session.destroy());
  }

  async folder(name: string, filter: FolderFilter, signal: AbortSignal): Promise<SentFolder> {
    const headers = {
      'dir-name': name,
      ...encoded('include-patterns', filter.includePatterns),
      ...encoded('exclude-patterns', filter.excludePatterns),
      ...encoded('followpaths', filter.followPaths),
    };
    const path = '/moby.filesync.v1.FileSync/DiffCopy';
    if (!this.#methods.has(path)) {
      const remedy = 'name one, or give standard input an archive or a Dockerfile';
      throw new TareError('NotFound', `no local sources enabled: the client sends no folder: ${remedy}`);
    }
    return new ReceivedFolder(this.#open(path, headers, signal));
  }

  async secret(id: string): Promise<Uint8Array> {
    const path = '/moby.buildkit.secrets.v1.Secrets/GetSecret';
    const missing = `secret ${id}: not found: the client gave none of this id (--secret id=${id},src=FILE)`;
    if (!this.#methods.has(path)) throw new TareError('NotFound', missing);
    const request = create(secrets.GetSecretRequestSchema, { ID: id });
    const answer = await this.#call(path, toBinary(secrets.GetSecretRequestSchema, request)).catch((cause: unknown) => {
      throw kindOf(cause) === 'NotFound' ? new TareError('NotFound', missing, { cause }) : cause;
    });
    const { data } = fromBinary(secrets.GetSecretResponseSchema, answer);
    if (data.length > MAX_SECRET_BYTES)
      throw new TareError(
        'InvalidArgument',
        `the secret ${JSON.stringify(id)} has ${data.length} bytes; ${MAX_SECRET_BYTES} are the most`,
      );
    return data;
  }

  async requireSshAgent(id: string): Promise<void> {
    const path = '/moby.sshforward.v1.SSH/CheckAgent';
    if (!this.#methods.has(path))
      throw new TareError('NotFound', `the client has no SSH agent ${JSON.stringify(id)}: build with --ssh`);
    const request = create(ssh.CheckAgentRequestSchema, { ID: id });
    try {
      await this.#call(path, toBinary(ssh.CheckAgentRequestSchema, request));
    } catch (error) {
      if (kindOf(error) !== 'Internal') throw error;
      // The client says it without a code: `unset ssh forward key ID`.
      throw new TareError('NotFound', `no SSH agent ${JSON.stringify(id)}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async sshAgent(id: string): Promise<Duplex> {
    return callDuplex(this.#open('/moby.sshforward.v1.SSH/ForwardAgent', { 'buildkit.ssh.id': id }));
  }

  async credentials(host: string): Promise<SessionCredentials | undefined> {
    const path = '/moby.filesync.v1.Auth/Credentials';
    // Clients that say nothing of what they serve may serve this.
    if (this.#methods.size > 0 && !this.#methods.has(path)) return undefined;
    const request = create(auth.CredentialsRequestSchema, { Host: host });
    let answer: Uint8Array;
    try {
      answer = await this.#call(path, toBinary(auth.CredentialsRequestSchema, request));
    } catch (error) {
      if (kindOf(error) === 'Unsupported') return undefined;
      throw error;
    }
    const { Username, Secret } = fromBinary(auth.CredentialsResponseSchema, answer);
    return Secret === '' ? undefined : { username: Username, secret: Secret };
  }

  async fileSink(exporterID: string, metadata: Readonly<Record<string, string>>): Promise<ExportSink> {
    const described = Object.entries(metadata).map(([key, value]) => [`exporter-md-${key}`, value]);
    const call = this.#open('/moby.filesync.v1.FileSend/DiffCopy', {
      'buildkit-attachable-exporter-id': exporterID,
      ...Object.fromEntries(described),
    });
    // It answers nothing before the end, unless it refuses: then what is written next is told why.
    const finished = call.finish();
    finished.catch(() => {});
    return {
      async write(chunk) {
        const pieceBytes = 1 << 20;
        for (let at = 0; at < chunk.length; at += pieceBytes) {
          const piece = chunk.subarray(at, at + pieceBytes);
          await call.send(encodeBytesHead(piece.length), piece);
        }
      },
      async close() {
        call.end();
        await finished;
      },
      async [Symbol.asyncDispose]() {
        call[Symbol.dispose]();
        await finished.catch(() => {});
      },
    };
  }

  async sendFolder(exporterID: string, folder: SentFolder, signal: AbortSignal): Promise<void> {
    using call = this.#open(
      '/moby.filesync.v1.FileSend/DiffCopy',
      { 'buildkit-attachable-exporter-id': exporterID },
      signal,
    );
    await sendFolder(call, folder);
  }

  async *upload(id: string): AsyncGenerator<Uint8Array, void> {
    using call = this.#open('/moby.upload.v1.Upload/Pull', { urlpath: `/${id}`, urlhost: 'buildkit-session' });
    // A stream of which the client alone has not ended would be reset, and what is under way lost.
    call.end();
    for await (const batch of call.batches()) for (const message of batch) yield decodeBytesMessage(message);
  }

  contentStore(storeID: string): SessionContentStore {
    return new RemoteContentStore(
      (path, request, headers) => this.#call(path, request, headers),
      (path, headers) => this.#open(path, headers),
      storeID,
    );
  }

  /** Says farewell; what is under way fails. */
  [Symbol.dispose](): void {
    this.#session.destroy();
  }

  #open(path: string, headers: CallHeaders, signal?: AbortSignal): GrpcCall {
    this.#mustLive();
    if (!this.#methods.has(path)) throw new TareError('NotFound', `the client does not serve ${path}`);
    return new GrpcCall(this.#session, path, headers, signal);
  }

  async #call(path: string, request: Uint8Array, headers: CallHeaders = {}): Promise<Uint8Array> {
    this.#mustLive();
    return await callOnce(this.#session, path, request, { headers });
  }

  #mustLive(): void {
    if (this.#session.closed || this.#session.destroyed)
      throw new TareError('Unavailable', `the session ${this.id} is over: the client is gone`);
  }
}

/** Values that a header cannot hold as they are go in the form of a query, and a second header says so. */
function encoded(name: string, values: readonly string[] | undefined): CallHeaders {
  if (values === undefined || values.length === 0) return {};
  if (values.every((value) => /^[\x20-\x7e]*$/.test(value))) return { [name]: values };
  return { [name]: values.map((value) => encodeURIComponent(value)), [`${name}-encoded`]: '1' };
}
