import type { Route } from '../routing.ts';
import { absentRoutes } from './absent.ts';
import { buildCacheRoutes } from './build-cache.ts';
import { checkpointRoutes } from './checkpoints.ts';
import { commitRoutes } from './commit.ts';
import { containerFileRoutes } from './container-files.ts';
import { containerStreamRoutes } from './container-streams.ts';
import { containerRoutes } from './containers.ts';
import { egressRoutes } from './egress.ts';
import { execRoutes } from './exec.ts';
import { imageRoutes } from './images.ts';
import { networkRoutes } from './networks.ts';
import { portRoutes } from './ports.ts';
import { registryRoutes } from './registry.ts';
import { systemRoutes } from './system.ts';
import { volumeRoutes } from './volumes.ts';

export const routes: readonly Route[] = [
  ...checkpointRoutes,
  ...containerRoutes,
  ...containerStreamRoutes,
  ...containerFileRoutes,
  ...commitRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...volumeRoutes,
  ...networkRoutes,
  ...portRoutes,
  ...egressRoutes,
  ...registryRoutes,
  ...systemRoutes,
  ...buildCacheRoutes,
  ...absentRoutes,
];
