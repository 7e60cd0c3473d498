export { createApi } from './api.ts';
export type { Api, ApiLogger, ApiRequest, ApiResponse } from './messages.ts';
export { MAXIMUM_VERSION, MINIMUM_VERSION } from './version.ts';
