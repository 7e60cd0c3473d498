import { join } from 'node:path';
import { type ScanDatabaseUpdate, type ScanReport, updateScanDatabase } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';
import { configFrom } from './open-engine.ts';

/** Known vulnerabilities of an image of the engine in this process. @param database undefined: the one of `tare scan-db update` */
export async function scanImage(
  globals: GlobalValues,
  ref: string,
  { database, platform }: { database: string | undefined; platform: string | undefined },
): Promise<ScanReport> {
  const config = configFrom(globals);
  await using engine = await openEngineHere(globals);
  return await engine.images.scan(ref, {
    database: database ?? databaseFolder(config.dataRoot),
    cacheFolder: join(config.dataRoot, 'cache', 'scan'),
    ...(platform === undefined ? {} : { platform }),
  });
}

/** Fetches vulnerability databases. @param folder undefined: the engine's own */
export async function* updateDatabases(
  globals: GlobalValues,
  folder: string | undefined,
  options: { ecosystems?: readonly string[]; from?: string },
): AsyncGenerator<ScanDatabaseUpdate, void, void> {
  // Node's fetch goes through the proxy of the environment only when it is told to.
  const http = await import('node:http');
  http.setGlobalProxyFromEnv();
  yield* updateScanDatabase(folder ?? databaseFolder(configFrom(globals).dataRoot), options);
}

const databaseFolder = (dataRoot: string): string => join(dataRoot, 'scan-db');
