export { BuildCache, type BuildCacheParts } from './build-cache.ts';
export {
  type CacheLimits,
  type CachePolicy,
  type CacheRule,
  defaultPolicy,
  policyOf,
  type SpaceLimit,
} from './policy.ts';
