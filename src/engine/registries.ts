import {
  type Credentials,
  certificatesOf,
  loadRegistriesConf,
  openCredentials,
  openRegistries,
  type Registries,
  type RegistriesConf,
  tlsFor,
} from '../image/index.ts';
import type { EngineConfig } from './config.ts';
import { version } from './version.ts';

/** What a command says about reaching a registry, beside the configuration. */
export interface RegistryAccess {
  /** Instead of those that are stored. */
  credentials?: Credentials;
  /** No credentials at all. */
  anonymous?: boolean;
  /** False: any certificate will do, and plain HTTP. */
  tlsVerify?: boolean;
  /** The only file of credentials that is read. */
  authFile?: string;
  /** Certificates as in a folder of certs.d, for every registry. */
  certDir?: string;
  /** Ask the `urls` of layers that registries do not hold. */
  allowForeign?: boolean;
}

/**
 * Registries as this machine's configuration, the user's stored credentials and a command say. Nothing is sent before a
 * method is called.
 *
 * @throws {TareError} InvalidArgument: a file of the configuration that is wrong
 */
export function openConfiguredRegistries(
  config: Pick<EngineConfig, 'registries'>,
  access: Omit<RegistryAccess, 'credentials'> = {},
): Registries & Disposable {
  return openWith(loadRegistriesConf(config.registries), access);
}

function openWith(conf: RegistriesConf, access: Omit<RegistryAccess, 'credentials'>): Registries & Disposable {
  const { anonymous = false, tlsVerify = true, authFile, certDir, allowForeign = false } = access;
  const certificates = certDir === undefined ? undefined : certificatesOf(certDir);
  return openRegistries({
    conf: tlsVerify ? conf : withoutVerification(conf),
    ...(anonymous
      ? {}
      : {
          credentials: openCredentials({
            helpers: conf.credentialHelpers,
            ...(authFile === undefined ? {} : { authFile }),
          }),
        }),
    tlsFor: certificates === undefined ? (domain) => tlsFor(domain) : () => certificates,
    userAgent: `tare/${version}`,
    allowForeign,
  });
}

const withoutVerification = (conf: RegistriesConf) => ({
  lookup: (reference: Parameters<RegistriesConf['lookup']>[0]) =>
    conf.lookup(reference).map((source) => ({ ...source, insecure: true })),
  isInsecure: () => true,
  refuseBlocked: (scope: string) => conf.refuseBlocked(scope),
  candidates: (name: string) => conf.candidates(name),
});

/**
 * The engine's registries: opened with the first question, since most commands ask none, and opened anew when the files that
 * configure them have changed, since a daemon lives for months.
 */
export class LateRegistries implements Disposable {
  readonly #config: Pick<EngineConfig, 'registries'>;
  readonly #access: Omit<RegistryAccess, 'credentials'>;
  /** By the fingerprint of their configuration and who checks certificates. Earlier ones may still be at work for somebody. */
  readonly #opened = new Map<string, Registries & Disposable>();

  constructor(config: Pick<EngineConfig, 'registries'>, access: Omit<RegistryAccess, 'credentials'> = {}) {
    this.#config = config;
    this.#access = access;
  }

  /** @throws {TareError} InvalidArgument: a file of the configuration that is wrong */
  async get({
    tlsVerify = this.#access.tlsVerify ?? true,
  }: Pick<RegistryAccess, 'tlsVerify'> = {}): Promise<Registries> {
    const conf = loadRegistriesConf(this.#config.registries);
    const key = `${conf.fingerprint} ${tlsVerify}`;
    const open = this.#opened.get(key) ?? openWith(conf, { ...this.#access, tlsVerify });
    this.#opened.set(key, open);
    return open;
  }

  [Symbol.dispose](): void {
    for (const open of this.#opened.values()) open[Symbol.dispose]();
    this.#opened.clear();
  }
}
