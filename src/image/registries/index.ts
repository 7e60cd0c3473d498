export { type CertificateOptions, certificatesOf, type HostCertificates, tlsFor } from './certificates.ts';
export { type CredentialPlaces, DOCKER_HUB_KEY } from './credential-file.ts';
export { type CredentialOptions, openCredentials, parseScope } from './credentials.ts';
export { checkRegistryOptions } from './docker-options.ts';
export { removeLogin, removeLogins, type StoredLogin, storeLogin } from './login.ts';
export { loadRegistriesConf, type PullSource, type RegistriesConf, type RegistriesOptions } from './registries-conf.ts';
