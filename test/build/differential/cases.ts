import { configCases } from './config-cases.ts';
import { copyCases } from './copy-cases.ts';
import { runCases } from './run-cases.ts';

export const cases = [...configCases, ...copyCases, ...runCases];
