export { certificatesOf, tlsFor } from './certificates.ts';
export { openCredentials, parseScope } from './credentials.ts';
export { checkRegistryOptions } from './docker-options.ts';
export { removeLogin, removeLogins, type StoredLogin, storeLogin } from './login.ts';
export { loadRegistriesConf, type RegistriesConf } from './registries-conf.ts';
