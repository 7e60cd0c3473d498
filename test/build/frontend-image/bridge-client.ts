import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { Duplex } from 'node:stream';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { gateway, status } from '../../../src/protocol/index.ts';

/** An answer that is an error. */
export class CallError extends Error {
  /** By the last part of its type, what it says as JSON. */
  readonly details: Map<string, unknown>;

  constructor(message: string, details: Map<string, unknown>) {
    super(message);
    this.details = details;
  }
}

/** A frontend's end of `LLBBridge`, over its standard streams. */
export class BridgeClient {
  #connection: ClientHttp2Session | undefined;

  get #session(): ClientHttp2Session {
    this.#connection ??= connect('http://tare', {
      createConnection: () => Duplex.from({ writable: process.stdout, readable: process.stdin } as never),
    });
    return this.#connection;
  }

  async call<I extends DescMessage, O extends DescMessage>(
    method: { input: I; output: O; name: string },
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const stream = this.#open(method.name);
    stream.end(frame(toBinary(method.input, create(method.input, request))));
    let answer: MessageShape<O> | undefined;
    for await (const message of messagesOf(stream, method.output)) answer = message;
    return answer!;
  }

  /** Runs a command in a container to its end. @returns what it wrote, and its exit code */
  async run(container: string, args: string[], input = ''): Promise<{ output: string; code: number }> {
    const { input: schema, output: answers } = gateway.LLBBridge.method.execProcess;
    const stream = this.#open('ExecProcess');
    const send = (Input: MessageInitShape<typeof schema>['Input']) =>
      stream.write(frame(toBinary(schema, create(schema, { ProcessID: 'p', Input: Input! }))));
    send({ case: 'Init', value: { ContainerID: container, Meta: { args, cwd: '/' }, Fds: [0, 1, 2] } });
    send({ case: 'File', value: { Fd: 0, Data: Buffer.from(input) } });
    send({ case: 'File', value: { Fd: 0, EOF: true } });
    let output = '';
    let code = -1;
    for await (const { Input: said } of messagesOf(stream, answers)) {
      if (said.case === 'File') output += Buffer.from(said.value.Data).toString();
      else if (said.case === 'Exit') code = said.value.Code;
      else if (said.case === 'Done') stream.end();
    }
    return { output, code };
  }

  close(): void {
    this.#connection?.close();
  }

  #open(method: string): ClientHttp2Stream {
    return this.#session.request({
      ':method': 'POST',
      ':path': `/moby.buildkit.v1.frontend.LLBBridge/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
  }
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

async function* messagesOf<O extends DescMessage>(
  stream: ClientHttp2Stream,
  schema: O,
): AsyncGenerator<MessageShape<O>> {
  let ending: Record<string, unknown> = {};
  stream.on('response', (headers) => (ending = { ...ending, ...headers }));
  stream.on('trailers', (headers) => (ending = { ...ending, ...headers }));
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      yield fromBinary(schema, rest.subarray(5, end));
      rest = rest.subarray(end);
    }
  }
  if (ending['grpc-status'] === '0') return;
  const bytes = Buffer.from(String(ending['grpc-status-details-bin'] ?? ''), 'base64');
  const { details } = fromBinary(status.StatusSchema, bytes);
  const known = details.map(({ typeUrl, value }) => [
    typeUrl.replace(/^.*\//, ''),
    JSON.parse(Buffer.from(value).toString()) as unknown,
  ]);
  throw new CallError(
    decodeURIComponent(String(ending['grpc-message'] ?? `status ${ending['grpc-status']}`)),
    new Map(known as [string, unknown][]),
  );
}
