export { createApi } from './api.ts';
export type { Api, ApiResponse } from './messages.ts';
