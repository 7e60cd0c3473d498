export type { NamedContainer, NamedEndpoint, NamedNetwork, NameRecords } from './directory.ts';
export {
  NAME_TTL_SECONDS,
  type NameHooks,
  NameServer,
  type NameServerOptions,
  type NameSource,
  servedAddresses,
} from './name-server.ts';
