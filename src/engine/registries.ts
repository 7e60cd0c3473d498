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
  const { anonymous = false, tlsVerify = true, authFile, certDir, allowForeign = false } = access;
  const conf = loadRegistriesConf(config.registries);
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

/** The engine's registries: opened with the first question, since most commands ask none. */
export class LateRegistries implements Disposable {
  readonly #config: Pick<EngineConfig, 'registries'>;
  readonly #access: Omit<RegistryAccess, 'credentials'>;
  #open: (Registries & Disposable) | undefined;

  constructor(config: Pick<EngineConfig, 'registries'>, access: Omit<RegistryAccess, 'credentials'> = {}) {
    this.#config = config;
    this.#access = access;
  }

  /** @throws {TareError} InvalidArgument: a file of the configuration that is wrong */
  async get(): Promise<Registries> {
    this.#open ??= openConfiguredRegistries(this.#config, this.#access);
    return this.#open;
  }

  [Symbol.dispose](): void {
    this.#open?.[Symbol.dispose]();
  }
}
