import { connect } from 'node:net';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { content, control, health, trace } from '../../src/protocol/index.ts';

/** BuildKit's services at a socket, as its Go clients call them. */
export function buildkitClient(socket: string) {
  const transport = createGrpcTransport({
    baseUrl: 'http://buildkit',
    nodeOptions: { createConnection: () => connect(socket) },
  });
  return {
    control: createClient(control.Control, transport),
    content: createClient(content.Content, transport),
    health: createClient(health.Health, transport),
    trace: createClient(trace.TraceService, transport),
  };
}

export type BuildkitClient = ReturnType<typeof buildkitClient>;

/** A blob of the content service, whole. */
export async function readBlob(client: BuildkitClient, digest: string): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { data } of client.content.read({ digest })) pieces.push(data);
  return Buffer.concat(pieces);
}
