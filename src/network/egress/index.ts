export {
  createEgressService,
  type EgressDeps,
  type EgressService,
  refuseUngoverned,
} from './egress-service.ts';
export type { EgressTimes } from './followed-names.ts';
export {
  defaultFrom,
  type EgressPolicy,
  type EgressRule,
  egressPolicyLines,
  egressRuleText,
  impliedDefault,
  parseEgressPolicy,
  parseEgressRule,
} from './policy.ts';
export {
  deletePolicy as forgetEgress,
  type EgressAttempt,
  type EgressSubject,
  type FollowedName,
} from './records.ts';
