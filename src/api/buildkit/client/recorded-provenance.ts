import type { ClientHttp2Session } from 'node:http2';
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { BuildOutcome } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { content, control } from '../../../protocol/index.ts';
import { GrpcCall } from '../session/grpc-call.ts';

type Provenance = NonNullable<BuildOutcome['provenance']>;
type Document = Record<string, unknown>;

const PREDICATE_TYPE = 'in-toto.io/predicate-type';
const SLSA = 'https://slsa.dev/provenance/';
const MAX_BYTES = 64 << 20;
const MAX_PLATFORMS = 100;

/**
 * How the results of a build were made, as a daemon's record of it has it; of several platforms by name. What a user said to the build is
 * left out, and how the graph was made. None: the daemon keeps no record.
 */
export async function recordedProvenance(
  http2: ClientHttp2Session,
  ref: string,
  signal: AbortSignal,
): Promise<Provenance> {
  try {
    const question = { Ref: ref, EarlyExit: true };
    const listen = '/moby.buildkit.v1.Control/ListenBuildHistory';
    for await (const bytes of answers(http2, listen, control.BuildHistoryRequestSchema, question, signal)) {
      const { record } = fromBinary(control.BuildHistoryEventSchema, bytes);
      if (record?.Ref !== ref) continue;
      const parts = Object.entries(record.Results).slice(0, MAX_PLATFORMS);
      const found = [
        ...(record.Result === undefined ? [] : [{ at: record.Result }]),
        ...parts.map(([platform, at]) => ({ platform, at })),
      ].flatMap(({ at, ...named }) => {
        const document = at.Attestations.find(({ annotations }) => annotations[PREDICATE_TYPE]?.startsWith(SLSA));
        return document === undefined ? [] : [{ named, document }];
      });
      return await Promise.all(
        found.map(async ({ named, document }) => ({
          ...named,
          predicate: leastOf(await read(http2, document.digest, signal)),
        })),
      );
    }
  } catch (error) {
    signal.throwIfAborted();
    // The build is none the worse for it.
    if (!(error instanceof TareError || error instanceof SyntaxError)) throw error;
  }
  return [];
}

async function read(http2: ClientHttp2Session, digest: string, signal: AbortSignal): Promise<Document> {
  const path = '/containerd.services.content.v1.Content/Read';
  const pieces: Uint8Array[] = [];
  let left = MAX_BYTES;
  for await (const bytes of answers(http2, path, content.ReadContentRequestSchema, { digest }, signal)) {
    const { data } = fromBinary(content.ReadContentResponseSchema, bytes);
    left -= data.length;
    if (left < 0) throw new TareError('InvalidArgument', `the provenance ${digest} has more than ${MAX_BYTES} bytes`);
    pieces.push(data);
  }
  return fieldsOf(JSON.parse(Buffer.concat(pieces).toString('utf8')));
}

async function* answers<I extends DescMessage>(
  http2: ClientHttp2Session,
  path: string,
  schema: I,
  question: MessageInitShape<I>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  using call = new GrpcCall(http2, path, {}, signal);
  await call.send(toBinary(schema, create(schema, question)));
  call.end();
  for await (const batch of call.batches()) yield* batch;
}

const fieldsOf = (value: unknown): Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Document) : {};

/** As `mode=min` writes it, in both versions of the predicate. */
function leastOf({ buildConfig: _, ...predicate }: Document): Document {
  const changed = (document: unknown, field: string, change: (inner: Document) => Document): Document => {
    const fields = fieldsOf(document);
    return field in fields ? { ...fields, [field]: change(fieldsOf(fields[field])) } : fields;
  };
  const ofGraph = ({ source: _source, layers: _layers, ...metadata }: Document) => metadata;
  const said = ({ secrets: _secrets, ssh: _ssh, ...parameters }: Document) =>
    changed(parameters, 'args', (args) =>
      Object.fromEntries(Object.entries(args).filter(([key]) => !/^(?:build-arg|label):/.test(key))),
    );
  const steps: [string, (inner: Document) => Document][] = [
    ['invocation', (invocation) => changed(invocation, 'parameters', said)],
    ['metadata', (metadata) => changed(metadata, 'https://mobyproject.org/buildkit@v1#metadata', ofGraph)],
    [
      'buildDefinition',
      (definition) =>
        changed(
          changed(definition, 'externalParameters', (parameters) => changed(parameters, 'request', said)),
          'internalParameters',
          ({ buildConfig: _config, ...parameters }) => parameters,
        ),
    ],
    [
      'runDetails',
      (details) => changed(details, 'metadata', (metadata) => changed(metadata, 'buildkit_metadata', ofGraph)),
    ],
  ];
  return steps.reduce<Document>((document, [field, change]) => changed(document, field, change), predicate);
}
