import type { HostFacts, Runtime, RuntimeBinary } from '../runtime/index.ts';
import type { Database } from '../state/index.ts';
import type { CallerGuard } from './caller-policy.ts';
import type { ContainerRecord } from './types.ts';

/** What execs work with. */
export interface ExecDeps {
  db: Database;
  runtime: Runtime;
  execRoot: string;
  guard: CallerGuard;
  facts: HostFacts;
  store: {
    get(ref: string): ContainerRecord;
    find(id: string): ContainerRecord | undefined;
  };
  /** @throws {TareError} InvalidArgument: no runtime has this name */
  runtimeFor(name: string): RuntimeBinary;
}
