export { BoundedPattern } from './bounded-pattern.ts';
export { cleanPattern, compileNamePattern, compilePathPattern, hasWildcard } from './path-pattern.ts';
export { type FolderMatch, PatternMatcher } from './pattern-matcher.ts';
