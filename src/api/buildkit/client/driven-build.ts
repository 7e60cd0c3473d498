import type { ClientHttp2Session } from 'node:http2';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { callOnce } from '../session/grpc-call.ts';

const BRIDGE = '/moby.buildkit.v1.frontend.LLBBridge';
/** A method of a build's bridge. */
export interface BridgeMethod<I extends DescMessage, O extends DescMessage> {
  input: I;
  output: O;
  name: string;
}

/** The bridge of one build that this end drives. */
export interface DrivenBuild {
  readonly http2: ClientHttp2Session;
  /** By which calls find their build. */
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  call<I extends DescMessage, O extends DescMessage>(
    method: BridgeMethod<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>>;
}

export const pathOf = (method: string): string => `${BRIDGE}/${method}`;

export function bridgeOf(http2: ClientHttp2Session, ref: string, signal: AbortSignal): DrivenBuild {
  const headers = { 'buildkit-controlapi-buildid': ref };
  return {
    ...{ http2, headers, signal },
    async call(method, request) {
      const bytes = toBinary(method.input, create(method.input, request));
      return fromBinary(method.output, await callOnce(http2, pathOf(method.name), bytes, { headers, signal }));
    },
  };
}
