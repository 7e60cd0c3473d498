export { Actions } from './actions.ts';
export { serveMetrics } from './serve-metrics.ts';
