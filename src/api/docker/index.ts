export { type Answered, createApi } from './api.ts';
export type { AuditEntry } from './audit.ts';
export type { Api, ApiResponse } from './messages.ts';
