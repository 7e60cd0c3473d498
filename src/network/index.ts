export { type AddressPool, checkPools } from './address-pools.ts';
export { BANDWIDTH_IN, BANDWIDTH_OUT, bandwidthFor, IFB } from './bandwidth.ts';
export { answerForClients } from './client-address.ts';
export * from './driver.ts';
export { type CniPaths, standardCniPaths } from './drivers/cni/catalogue.ts';
export {
  defaultFrom,
  type EgressAttempt,
  type EgressPolicy,
  type EgressRule,
  type EgressService,
  type EgressSubject,
  type EgressTimes,
  egressPolicyLines,
  egressRuleText,
  type FollowedName,
  forgetEgress,
  impliedDefault,
  parseEgressPolicy,
  parseEgressRule,
  refuseUngoverned,
} from './egress/index.ts';
export { checkEndpoint } from './endpoint-check.ts';
export { hasNames, nameServersOf } from './named-networks.ts';
export * from './names/index.ts';
export * from './network-service.ts';
export type { Passage } from './passages.ts';
export type { DefaultNetwork } from './predefined.ts';
export { selectionText, selects } from './publish.ts';
export type { PortReach } from './reach.ts';
export * from './reservations.ts';
export { type NetworkServiceOptions, openNetworkService } from './service.ts';
