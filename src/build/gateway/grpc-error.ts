import { toBinary } from '@bufbuild/protobuf';
import type { ConnectError, Interceptor } from '@connectrpc/connect';
import { status } from '../../protocol/index.ts';
import { statusOf } from '../history/error-status.ts';

/** Of all details: they go in a header, and Go's clients take 16 MiB of these, servers in between less. */
const MAX_DETAILS_BYTES = 1 << 20;

/**
 * Errors of ours in gRPC's form, also those that come while an answer is streamed.
 *
 * @param errors the class of the package that serves, which is loaded late
 * @param report told of each before it is sent
 */
export function errorInterceptor(
  errors: typeof ConnectError,
  report: (method: string, error: unknown) => void = () => {},
): Interceptor {
  return (next) => async (request) => {
    const failed = (error: unknown) => {
      if (error instanceof errors) return error;
      report(request.method.name, error);
      const said = statusOf(error, request.signal.aborted);
      return new errors(said.message, said.code, detailsHeader(said), undefined, error);
    };
    try {
      const response = await next(request);
      if (!response.stream) return response;
      const { message } = response;
      const translated = async function* () {
        try {
          yield* message;
        } catch (error) {
          throw failed(error);
        }
      };
      return { ...response, message: translated() };
    } catch (error) {
      throw failed(error);
    }
  };
}

function detailsHeader(said: status.Status): Record<string, string> {
  if (said.details.length === 0) return {};
  const bytes = toBinary(status.StatusSchema, said);
  if (bytes.length > MAX_DETAILS_BYTES) return {};
  return { 'grpc-status-details-bin': Buffer.from(bytes).toString('base64').replace(/=+$/, '') };
}
