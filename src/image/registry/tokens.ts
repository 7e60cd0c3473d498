import { createHash } from 'node:crypto';
import { TareError } from '../../errors/index.ts';
import { integerAt, objectAt, optional, parseJson, textAt } from '../json.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { WireResponse } from './exchange.ts';
import type { Authorizer, Call, HttpClient } from './http-client.ts';
import type { Credentials } from './registry.ts';
import { quoted, RegistryError } from './registry-error.ts';

/** What a token server answers. */
interface Token {
  token: string;
  expiresAtMs: number;
  refreshToken: string | undefined;
}

export interface AuthenticatorOptions {
  /** The registry as the user calls it. */
  registry: string;
  client: HttpClient;
  /** undefined: nobody in particular. */
  credentials: Credentials | undefined;
  /** The registry may be talked to without TLS. */
  isInsecure: boolean;
}

/** What a token server does not say it grants, by the distribution specification's token page. */
const DEFAULT_LIFETIME_SECONDS = 60;
/** A token that ends sooner is not begun with. */
const MARGIN_MS = 5_000;
const CLIENT_ID = 'tare';
const MAX_SCOPES = 8;
/** A daemon lives long, and every repository has a scope of its own. */
const MAX_TOKENS = 256;
/** Whoever needs the token tries its own request again, and with it this one. */
const once = { attempts: 1 };

const bearer = (token: string) => `Bearer ${token}`;

/** Proves to one registry who asks, with one set of credentials; remembers tokens by scope. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** How this registry wants it, once it has said so. */
  #challenge: Challenge | undefined;
  readonly #tokens = new Map<string, Promise<Token>>();
  /** From the token server, in place of the identity token that it was given for. */
  #refreshToken: string | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** @param scopes e.g. `repository:a/b:pull` */
  for(scopes: readonly string[]): Authorizer {
    return {
      header: async (signal) => (this.#challenge === undefined ? undefined : await this.#header(scopes, signal)),
      answer: async (response, refused, signal) => await this.#answer(response, scopes, refused, signal),
    };
  }

  async #answer(
    response: WireResponse,
    scopes: readonly string[],
    refused: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<string | undefined> {
    const value = response.headers['www-authenticate'] as string | string[] | undefined;
    const challenges = parseChallenges(value === undefined ? [] : [value].flat());
    const challenge = challenges.find(({ scheme, parameters }) =>
      scheme === 'bearer' ? parameters['realm'] !== undefined : scheme === 'basic',
    );
    if (challenge === undefined) return undefined;
    this.#challenge = challenge;
    if (challenge.scheme === 'bearer') {
      this.#checkRealm(challenge, response.url);
      if (refused !== undefined) await this.#forget(refused);
    }
    return await this.#header(scopes, signal);
  }

  /** Tokens must not be asked for in the clear where the registry itself is not. */
  #checkRealm(challenge: Challenge, from: URL): void {
    const realm = challenge.parameters['realm']!;
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    const isFine = url?.protocol === 'https:' || (url?.protocol === 'http:' && from.protocol === 'http:');
    if (isFine && url.username === '' && url.password === '') return;
    this.#challenge = undefined;
    throw new RegistryError(
      'InvalidArgument',
      { registry: this.#options.registry, what: 'login' },
      `its realm for tokens is ${quoted(realm)}: want an https URL`,
    );
  }

  async #header(scopes: readonly string[], signal: AbortSignal | undefined): Promise<string | undefined> {
    const challenge = this.#challenge!;
    const { credentials } = this.#options;
    if (credentials?.registryToken !== undefined)
      return bearer(headerText(credentials.registryToken, 'registry token'));
    if (challenge.scheme === 'basic') return basicHeader(credentials);
    const asked = (challenge.parameters['scope'] ?? '').split(' ').filter((scope) => scope !== '');
    // Ours first: a registry's own wish only ever adds to it.
    const wanted = [...new Set([...scopes, ...(scopes.length === 0 ? asked : [])])].slice(0, MAX_SCOPES).sort();
    return bearer((await this.#token(challenge, wanted, signal)).token);
  }

  async #forget(header: string): Promise<void> {
    for (const [key, pending] of [...this.#tokens]) {
      const token = await pending.catch(() => undefined);
      if (token !== undefined && bearer(token.token) === header && this.#tokens.get(key) === pending) {
        this.#tokens.delete(key);
      }
    }
  }

  async #token(challenge: Challenge, scopes: string[], signal: AbortSignal | undefined): Promise<Token> {
    const key = JSON.stringify([challenge.parameters['realm'], challenge.parameters['service'], scopes]);
    for (let current = this.#tokens.get(key); current !== undefined; ) {
      const kept = await orAborted(current, signal);
      if (kept.expiresAtMs - MARGIN_MS > Date.now()) return kept;
      const next = this.#tokens.get(key);
      current = next === current ? undefined : next;
    }
    // Requests side by side share one token; so it does not end with one of them.
    const fetched = this.#fetch(challenge, scopes);
    if (this.#tokens.size >= MAX_TOKENS) this.#tokens.clear();
    this.#tokens.set(key, fetched);
    fetched.catch(() => {
      if (this.#tokens.get(key) === fetched) this.#tokens.delete(key);
    });
    return await orAborted(fetched, signal);
  }

  async #fetch(challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const { credentials } = this.#options;
    const identity = this.#refreshToken ?? credentials?.identityToken;
    if (identity !== undefined) {
      const token = await this.#refresh(challenge, scopes, identity);
      this.#refreshToken = token.refreshToken ?? this.#refreshToken;
      return token;
    }
    return await this.#get(challenge, scopes, credentials, false);
  }

  /** @see distribution's "Docker Registry v2 authentication using OAuth2" */
  async #refresh(challenge: Challenge, scopes: readonly string[], refreshToken: string): Promise<Token> {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
      client_id: CLIENT_ID,
    });
    const { service } = challenge.parameters;
    if (service !== undefined) form.set('service', service);
    if (scopes.length > 0) form.set('scope', scopes.join(' '));
    const bytes = Buffer.from(form.toString());
    return await this.#ask({
      ...once,
      method: 'POST',
      url: () => new URL(challenge.parameters['realm']!),
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: {
        sizeBytes: bytes.length,
        bytes: async function* () {
          yield bytes;
        },
      },
    });
  }

  /** @see distribution's "Token Authentication Specification" */
  async #get(
    challenge: Challenge,
    scopes: readonly string[],
    credentials: Credentials | undefined,
    isOffline: boolean,
  ): Promise<Token> {
    const url = new URL(challenge.parameters['realm']!);
    const { service } = challenge.parameters;
    if (service !== undefined) url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    if (credentials?.username !== undefined) url.searchParams.set('account', credentials.username);
    if (isOffline) {
      url.searchParams.set('offline_token', 'true');
      url.searchParams.set('client_id', CLIENT_ID);
    }
    const basic = basicHeader(credentials);
    return await this.#ask({
      ...(isOffline ? {} : once),
      method: 'GET',
      url: () => url,
      headers: { accept: 'application/json' },
      ...(basic === undefined
        ? {}
        : { authorizer: { header: async () => basic, answer: async () => undefined } satisfies Authorizer }),
    });
  }

  async #ask(call: Pick<Call, 'method' | 'url' | 'headers' | 'body' | 'authorizer' | 'attempts'>): Promise<Token> {
    const { client, registry, credentials, isInsecure } = this.#options;
    const host = (await call.url()).host;
    const purpose = { registry, what: `token from ${host}` };
    const response = await client
      .call({
        ...call,
        purpose,
        isInsecure: client.options.isInsecure(host) || (isInsecure && host === registry),
        wanted: [200],
      })
      .catch((error: unknown) => {
        throw refusedLogin(error, purpose, credentials);
      });
    const bytes = await client.read(purpose, response, client.options.limits.tokenBytes);
    return parseToken(bytes, `registry ${registry}: ${purpose.what}`);
  }

  /**
   * Proves the credentials to whoever this registry asks for it.
   * @returns an identity token if the token server gave one
   */
  async login(): Promise<{ identityToken?: string }> {
    const challenge = this.#challenge;
    if (challenge?.scheme !== 'bearer') return {};
    const { credentials } = this.#options;
    if (credentials?.identityToken !== undefined || credentials?.registryToken !== undefined) return {};
    const { refreshToken } = await this.#get(challenge, [], credentials, true);
    return refreshToken === undefined ? {} : { identityToken: refreshToken };
  }
}

function basicHeader(credentials: Credentials | undefined): string | undefined {
  if (credentials?.username === undefined || credentials.password === undefined) return undefined;
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}

/** A token server's refusal in words about the login; other errors as they are. */
function refusedLogin(error: unknown, purpose: { registry: string; what: string }, credentials?: Credentials): unknown {
  if (!(error instanceof RegistryError) || (error.status !== 401 && error.status !== 403)) return error;
  const { status, code } = error;
  if (credentials === undefined) return error;
  const who = credentials.username === undefined ? 'the stored login' : `the login of ${quoted(credentials.username)}`;
  const problem = `${who} is refused (${status}); log in again with: tare login ${purpose.registry}`;
  return new RegistryError('Unauthorized', purpose, problem, { status, code, cause: error });
}

/** What becomes a part of a header must not bring headers of its own. */
function headerText(text: string, what: string): string {
  if (/^[\x21-\x7e]{1,65536}$/.test(text)) return text;
  throw new TareError('InvalidArgument', `${what}: want visible ASCII characters, at most 64 KiB`);
}

function parseToken(bytes: Uint8Array, what: string): Token {
  const document = objectAt(parseJson(bytes, what, bytes.byteLength), what);
  const token = [document['token'], document['access_token']].find((text) => typeof text === 'string' && text !== '');
  if (token === undefined) throw new TareError('InvalidArgument', `${what}: want a field "token" or "access_token"`);
  const lifetime = optional(document['expires_in'], `${what}: expires_in`, integerAt) ?? DEFAULT_LIFETIME_SECONDS;
  const refreshToken = optional(document['refresh_token'], `${what}: refresh_token`, textAt);
  // Not from `issued_at`: that is another machine's clock.
  return {
    token: headerText(token as string, what),
    expiresAtMs: Date.now() + Math.max(0, lifetime) * 1000,
    refreshToken: refreshToken === '' ? undefined : refreshToken,
  };
}

async function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Tells sets of credentials apart without keeping them. */
export const fingerprint = (credentials: Credentials | undefined): string =>
  createHash('sha256')
    .update(JSON.stringify(credentials ?? null))
    .digest('hex');
