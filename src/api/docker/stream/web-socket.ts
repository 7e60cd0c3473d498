import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { WebSocketServer } from 'ws';
import { TareError } from '../../../errors/index.ts';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import type { ApiVersion } from '../version.ts';
import type { PumpOptions } from './session.ts';

/** Of input in one message; clients send what was typed. */
const MESSAGE_BYTES = 1024 * 1024;
/** How long the input of a client that has closed may wait for its process. */
const LINGER_MS = 10_000;

/** @throws {TareError} InvalidArgument: no request for a WebSocket (RFC 6455, section 4.2.1) */
export function requireWebSocket({ headers }: ApiRequest): void {
  const isOne =
    headers.upgrade?.toLowerCase() === 'websocket' &&
    /^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '') &&
    /^(8|13)$/.test(headers['sec-websocket-version'] ?? '');
  if (!isOne) {
    throw new TareError('InvalidArgument', 'no WebSocket handshake: open a WebSocket here, or POST to .../attach');
  }
}

/**
 * The answer that makes a WebSocket of the connection. Output leaves in binary messages; in text for clients of before API 1.28.
 *
 * @param pump returns when it has ended the duplex
 */
export function overWebSocket(
  request: ApiRequest,
  version: ApiVersion,
  pump: (duplex: Duplex, options: Pick<PumpOptions, 'encode' | 'endsWhole'>) => Promise<void>,
): ApiResponse {
  return {
    status: 101,
    headers: {},
    shakesHands: true,
    async upgrade(connection, headers) {
      const duplex = await open(request, connection, headers);
      const decoder = new StringDecoder('utf8');
      const asText = (chunk: Uint8Array) => decoder.write(Buffer.from(chunk));
      await pump(duplex, { endsWhole: true, ...(version < 28 && { encode: asText }) });
    },
  };
}

/** One for all connections; loaded by the first. */
let server: Promise<WebSocketServer> | undefined;

async function load(): Promise<WebSocketServer> {
  const { WebSocketServer } = await import('ws');
  return new WebSocketServer({ noServer: true, clientTracking: false, maxPayload: MESSAGE_BYTES });
}

/** @returns what comes and goes in messages; the connection itself, closed, when the client left meanwhile */
async function open(request: ApiRequest, connection: Duplex, headers: Record<string, string>): Promise<Duplex> {
  const { createWebSocketStream } = await import('ws');
  server ??= load();
  const sockets = await server;
  const incoming = { method: 'GET', url: request.path, headers: request.headers } as IncomingMessage;
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const addHeaders = (lines: string[]) => lines.push(...more);
  return await new Promise((resolve) => {
    connection.once('close', () => resolve(connection));
    sockets.once('headers', addHeaders);
    // Writes its answer before it returns.
    sockets.handleUpgrade(incoming, connection, Buffer.alloc(0), (socket) => {
      const duplex = createWebSocketStream(socket, { decodeStrings: false });
      socket.once('close', () => setTimeout(() => duplex.destroy(), LINGER_MS).unref());
      resolve(duplex);
    });
    sockets.off('headers', addHeaders);
  });
}
