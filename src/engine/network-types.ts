import type { CreateNetwork, Endpoint, NetworkRecord } from '../network/index.ts';
import type { EndpointRequest } from './container-types.ts';
import type { Filters, PruneReport } from './filter-types.ts';

export interface NetworkView extends NetworkRecord {
  endpoints: (Endpoint & { containerName: string })[];
}

export interface NetworksService {
  create(request: CreateNetwork): Promise<{ id: string; warnings: string[] }>;
  inspect(ref: string): Promise<NetworkView>;
  list(filters?: Filters): Promise<NetworkView[]>;
  remove(ref: string): Promise<void>;
  connect(ref: string, containerRef: string, request: Omit<EndpointRequest, 'network'>): Promise<void>;
  disconnect(ref: string, containerRef: string, force: boolean): Promise<void>;
  prune(filters?: Filters): Promise<PruneReport>;
}
