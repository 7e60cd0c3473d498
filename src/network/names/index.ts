export type { NamedContainer, NamedEndpoint, NamedNetwork, NameRecords } from './directory.ts';
export {
  isServed,
  NAME_TTL_SECONDS,
  type NameHooks,
  NameServer,
  type NameServerOptions,
  type NameSource,
} from './name-server.ts';
