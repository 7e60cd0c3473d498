export type { NamedContainer, NamedEndpoint, NamedNetwork, NameRecords } from './directory.ts';
export { INNER_NAME_SERVER, isServedInside } from './inner-sockets.ts';
export {
  NAME_TTL_SECONDS,
  type NameHooks,
  NameServer,
  type NameServerOptions,
  type NameSource,
  servedAddresses,
} from './name-server.ts';
