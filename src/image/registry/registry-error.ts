import { type ErrorKind, TareError } from '../../errors/index.ts';

/** What a request was for, in the words of an error. */
export interface Purpose {
  /** The registry as the user calls it. */
  registry: string;
  /** E.g. `manifest a/b:latest`. */
  what: string;
}

/** A registry's answer, or that none came. */
export class RegistryError extends TareError {
  readonly registry: string;
  /** HTTP's status; undefined: no answer came. */
  readonly status: number | undefined;
  /** The registry's own code, e.g. MANIFEST_UNKNOWN. */
  readonly code: string | undefined;
  /** Whether the same request may succeed a moment later. */
  readonly isPassing: boolean;
  /** How long the registry asked to wait. */
  readonly retryAfterMs: number | undefined;
  constructor(
    kind: ErrorKind,
    purpose: Purpose,
    problem: string,
    details: {
      status?: number;
      code?: string | undefined;
      isPassing?: boolean;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(
      kind,
      `registry ${purpose.registry}: ${purpose.what}: ${problem}`,
      details.cause === undefined ? {} : { cause: details.cause },
    );
    this.registry = purpose.registry;
    this.status = details.status;
    this.code = details.code;
    this.isPassing = details.isPassing ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }
}

const MAX_MESSAGE_CHARACTERS = 300;

/** Foreign text in one line of a message. */
export function quoted(text: string): string {
  // Control characters of a registry must not reach a terminal.
  const line = text.replaceAll(/[\p{C}\s]+/gu, ' ').trim();
  // A cut between the halves of a character leaves a half.
  return line.length > MAX_MESSAGE_CHARACTERS ? `${line.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed()}…` : line;
}

/** The first error of an answer's body. @see distribution-spec, "Error Codes" */
export function parseErrorBody(body: Uint8Array | undefined): { code?: string; message?: string } {
  if (body === undefined) return {};
  const text = new TextDecoder().decode(body);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // A proxy's page in HTML says nothing in one line.
    return text.trimStart().startsWith('<') || text.trim() === '' ? {} : { message: quoted(text) };
  }
  const { errors, details, message, error_description: description } = (document ?? {}) as Record<string, unknown>;
  const first = (Array.isArray(errors) ? errors[0] : undefined) as Record<string, unknown> | undefined | null;
  const texts = [first?.['message'], message, description, details].filter((value) => typeof value === 'string');
  return {
    ...(typeof first?.['code'] === 'string' ? { code: quoted(first['code']).slice(0, 64) } : {}),
    ...(texts[0] === undefined || texts[0] === '' ? {} : { message: quoted(texts[0]) }),
  };
}

function kindOfStatus(status: number): ErrorKind {
  if (status === 401) return 'Unauthorized';
  if (status === 403) return 'Forbidden';
  if (status === 404) return 'NotFound';
  if (status === 405 || status === 501) return 'Unsupported';
  if (status === 408 || status === 429 || status >= 500) return 'Unavailable';
  return 'InvalidArgument';
}

/** Words for a status, and what can be done. */
function problemOfStatus(status: number, registry: string): string {
  if (status === 401) return `access denied; check the name, or log in with: tare login ${registry}`;
  if (status === 403) return 'access forbidden; the login in use may not do this';
  if (status === 404) return 'not found';
  if (status === 405 || status === 501) return 'the registry does not offer this';
  if (status === 429) return `too many requests; wait, or log in for a higher limit with: tare login ${registry}`;
  if (status === 413) return 'too large for this registry';
  if (status >= 500 || status === 408) return 'the registry fails; try again later';
  return 'the registry refuses';
}

/** The error for an answer that is none of those wanted. */
export function errorOfAnswer(
  purpose: Purpose,
  status: number,
  body: Uint8Array | undefined,
  retryAfterMs?: number,
): RegistryError {
  const { code, message } = parseErrorBody(body);
  const said = [status, code].filter((part) => part !== undefined).join(' ');
  return new RegistryError(
    kindOfStatus(status),
    purpose,
    `${problemOfStatus(status, purpose.registry)} (${said}${message === undefined ? '' : `: ${message}`})`,
    { status, code, isPassing: kindOfStatus(status) === 'Unavailable', retryAfterMs },
  );
}

const untrusted = new Set([
  ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ...['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_UNTRUSTED', 'INVALID_CA', 'CERT_REJECTED'],
]);

/** The error for a request that got no answer. */
export function errorOfConnection(purpose: Purpose, url: URL, error: unknown, isPassing: boolean): RegistryError {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  const message = error instanceof Error ? error.message : String(error);
  // Node writes several lines about a name that does not match.
  const said = quoted(code === undefined || message.includes(code) ? message : `${message}, ${code}`);
  const { host } = url;
  const details = { isPassing, cause: error };
  if (untrusted.has(code ?? '')) {
    const remedy = `put its authority's certificate into /etc/containers/certs.d/${purpose.registry}/ca.crt`;
    return new RegistryError(
      'Unavailable',
      purpose,
      `nobody trusted signed ${host}'s certificate (${said}); ${remedy}`,
      details,
    );
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    const problem = `${host}'s certificate is not valid now (${said}); renew it, or set this machine's clock`;
    return new RegistryError('Unavailable', purpose, problem, details);
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new RegistryError('Unavailable', purpose, `${host}'s certificate is another host's (${said})`, details);
  }
  if (code === 'EPROTO' || code?.startsWith('ERR_SSL_') === true) {
    const remedy = 'if it is meant to be reached without TLS, mark it insecure in registries.conf';
    return new RegistryError(
      'Unavailable',
      purpose,
      `${host} does not speak TLS as it should (${said}); ${remedy}`,
      details,
    );
  }
  if (code?.startsWith('HPE_') === true) {
    return new RegistryError('Unavailable', purpose, `${host} does not speak HTTP as it should (${said})`, details);
  }
  if (code === 'ENOTFOUND') {
    return new RegistryError('Unavailable', purpose, `no host is called ${url.hostname}; check the name`, details);
  }
  // In the words that scripts look for.
  const reason =
    code === 'ECONNREFUSED' ? `connection refused (${said}); check the port, and that a registry listens there` : said;
  return new RegistryError('Unavailable', purpose, `no answer from ${host}: ${reason}`, details);
}
