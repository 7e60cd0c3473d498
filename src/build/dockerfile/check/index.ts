export * from './check-file.ts';
export * from './check-stage.ts';
export * from './lint-result.ts';
export * from './linter.ts';
export { type Rule, rules } from './rules.ts';
