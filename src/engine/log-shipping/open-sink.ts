import type { LogSource } from './description.ts';
import { openFluentd } from './fluentd.ts';
import { openGelf } from './gelf.ts';
import { openJournald } from './journald.ts';
import { fluentdOptions, type ShippingDriver } from './options.ts';
import type { LogSink } from './sink.ts';
import { openSyslog } from './syslog.ts';

const drivers = { syslog: openSyslog, journald: openJournald, gelf: openGelf, fluentd: openFluentd };

/** @throws {TareError} InvalidArgument: options that the driver does not take */
export const openSink = (
  driver: ShippingDriver,
  source: LogSource,
  options: Readonly<Record<string, string>>,
): LogSink => drivers[driver](source, options);

/**
 * Finds out whether a container's collector is there, before it starts.
 * @throws {TareError} Unavailable, with docker's words
 */
export async function requireCollector(
  driver: ShippingDriver,
  source: LogSource,
  options: Readonly<Record<string, string>>,
): Promise<void> {
  if (driver === 'fluentd' && fluentdOptions(options).isAsync) return;
  await using sink = openSink(driver, source, options);
  await sink.connect();
}
