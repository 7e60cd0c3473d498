export { cleanPath, parseIgnoreFile } from './ignore-file.ts';
export { compilePathPattern } from './path-pattern.ts';
export { type FolderMatch, PatternMatcher } from './pattern-matcher.ts';
