export * from './driver.ts';
export * from './network-service.ts';
