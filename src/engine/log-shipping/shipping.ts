export { openSink, requireCollector } from './open-sink.ts';
export { isShipped, ship } from './shipment.ts';
