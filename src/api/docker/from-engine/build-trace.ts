import { toBinary } from '@bufbuild/protobuf';
import { control } from '../../../protocol/index.ts';

/** A document of the stream by which docker tells clients of BuildKit how a build goes. */
export const traceLine = (status: control.StatusResponse): object => ({
  id: 'moby.buildkit.trace',
  aux: Buffer.from(toBinary(control.StatusResponseSchema, status)).toString('base64'),
});
