export type { AddressPool } from './address-pools.ts';
export * from './driver.ts';
export * from './names/index.ts';
export * from './network-service.ts';
export * from './reservations.ts';
export { type NetworkServiceOptions, openNetworkService } from './service.ts';
