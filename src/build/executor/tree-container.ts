import { create } from '@bufbuild/protobuf';
import { type Mount, MountSchema, type NetMode } from '../../protocol/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { OperationContext } from '../operation.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { openStepContainer, type StepContainer } from './step-container.ts';

/** A mount with what it shows, wherever that comes from. */
export interface TreeMount {
  mount: Mount;
  /** Undefined: no tree, as a secret; a folder to write to begins empty. */
  tree: Tree | undefined;
}

export interface TreeContainerRequest {
  mounts: readonly TreeMount[];
  cwd?: string;
  network: NetMode;
  /** Of its programs, as Go calls it; '' for the host's. */
  architecture: string;
}

const NONE = -1n;

/** A container for commands that are no step of a build: nothing becomes of what they write. @throws as `openStepContainer` */
export function openTreeContainer(
  parts: BuilderParts,
  { mounts, ...request }: TreeContainerRequest,
  context: Pick<OperationContext, 'signal' | 'sessions' | 'allows'>,
): Promise<StepContainer> {
  const inputs = mounts.map(({ tree }) => tree ?? emptyTree);
  const own = mounts.map(({ mount, tree }, index) =>
    create(MountSchema, { ...mount, input: tree === undefined ? NONE : BigInt(index), output: NONE }),
  );
  return openStepContainer(parts, { ...request, mounts: own, inputs }, context);
}
