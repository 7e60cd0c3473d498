import { type ErrorDetail, FrontendError } from '../vertex-error.ts';

/** A frontend cannot do what its client wants of it: clients know this, and try another way. */
export const unsupportedCapability = (name: string): FrontendError =>
  new FrontendError('Unsupported', `unsupported frontend capability ${name}`, [detail('FrontendCap', name)]);

/** The same of a question. */
export const unsupportedQuestion = (name: string): FrontendError =>
  new FrontendError('Unsupported', `unsupported request ${name}`, [detail('Subrequest', name)]);

const detail = (type: string, name: string): ErrorDetail => ({
  typeUrl: `github.com/moby/buildkit/errdefs.${type}+json`,
  value: Buffer.from(JSON.stringify({ name })),
});
