import { createHash, createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Certificate, makeCertificate } from './certificates.ts';

export interface TokenServerOptions {
  users?: Record<string, string>;
  /** What nobody in particular may: `repository:PATH:ACTION`. Default: nothing. */
  anonymous?: RegExp;
  lifetimeSeconds?: number;
}

export interface TokenRequest {
  method: string;
  /** Of the query or the form. */
  parameters: Record<string, string[]>;
  authorization: string | undefined;
}

/** Gives bearer tokens that docker-registry takes (distribution, "Token Authentication Specification"). */
export class TokenServer implements AsyncDisposable {
  readonly requests: TokenRequest[] = [];
  readonly service = 'tests';
  readonly issuer = 'token server of the tests';
  readonly certificate: Certificate = makeCertificate({ commonName: 'tokens', isAuthority: true });
  readonly #options: TokenServerOptions;
  readonly #server: http.Server;
  readonly #refreshTokens = new Map<string, string>();
  lifetimeSeconds: number;

  constructor(options: TokenServerOptions) {
    this.#options = options;
    this.lifetimeSeconds = options.lifetimeSeconds ?? 300;
    this.#server = http.createServer((request, response) => {
      this.#answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message));
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  /** For `startRegistry`. */
  get settings() {
    return { realm: this.realm, service: this.service, issuer: this.issuer, rootCertificate: this.certificate.cert };
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>)).toString();
    const asked =
      request.method === 'POST' ? new URLSearchParams(body) : new URL(request.url!, this.realm).searchParams;
    const parameters = Object.fromEntries([...asked.keys()].map((key) => [key, asked.getAll(key)]));
    this.requests.push({ method: request.method!, parameters, authorization: request.headers.authorization });
    const user = this.#user(asked, request.headers.authorization);
    if (user === null) return void response.writeHead(401).end(JSON.stringify({ details: 'incorrect login' }));
    const scopes = asked.getAll('scope').flatMap((scope) => scope.split(' '));
    const token = this.#token(user, scopes);
    const refresh = asked.get('offline_token') === 'true' && user !== undefined ? randomUUID() : undefined;
    if (refresh !== undefined) this.#refreshTokens.set(refresh, user!);
    const answer = { token, expires_in: this.lifetimeSeconds, refresh_token: refresh };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  /** @returns undefined: nobody in particular; null: a wrong login */
  #user(asked: URLSearchParams, authorization: string | undefined): string | undefined | null {
    if (asked.get('grant_type') === 'refresh_token') {
      return this.#refreshTokens.get(asked.get('refresh_token') ?? '') ?? null;
    }
    if (authorization === undefined) return undefined;
    const text = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString();
    const [name = '', password] = [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)];
    return this.#options.users?.[name] === password ? name : null;
  }

  #token(user: string | undefined, scopes: readonly string[]): string {
    const access = scopes.flatMap((scope) => {
      const [type = '', ...rest] = scope.split(':');
      const actions = (rest.pop() ?? '').split(',');
      const name = rest.join(':');
      const granted = actions.filter(
        (action) => user !== undefined || this.#options.anonymous?.test(`${type}:${name}:${action}`) === true,
      );
      return granted.length === 0 ? [] : [{ type, name, actions: granted }];
    });
    const now = Math.floor(Date.now() / 1000);
    const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const chain = [new X509Certificate(this.certificate.cert).raw.toString('base64')];
    const claims = {
      iss: this.issuer,
      sub: user ?? '',
      aud: this.service,
      exp: now + 3600,
      nbf: now - 60,
      iat: now,
      jti: randomUUID(),
      access,
    };
    const signed = `${base64({ typ: 'JWT', alg: 'ES256', x5c: chain })}.${base64(claims)}`;
    const key = createPrivateKey(this.certificate.key);
    const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

export async function startTokenServer(options: TokenServerOptions = {}): Promise<TokenServer> {
  const server = new TokenServer(options);
  await server.listen();
  return server;
}

/** Short enough to print, long enough to tell tokens apart. */
export const tokenName = (header: string | undefined): string =>
  createHash('sha256')
    .update(header ?? '')
    .digest('hex')
    .slice(0, 8);
