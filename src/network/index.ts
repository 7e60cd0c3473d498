export { type AddressPool, checkPools } from './address-pools.ts';
export * from './driver.ts';
export { type CniPaths, standardCniPaths } from './drivers/cni/catalogue.ts';
export { checkEndpoint } from './endpoint-check.ts';
export * from './names/index.ts';
export * from './network-service.ts';
export type { DefaultNetwork } from './predefined.ts';
export * from './reservations.ts';
export { type NetworkServiceOptions, openNetworkService } from './service.ts';
