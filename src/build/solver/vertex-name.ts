import type { FileAction, Op, OpMetadata } from '../../protocol/index.ts';

const MAX_NAME = 4096;

/** What users read of a vertex: what its maker calls it, else what it does. */
export const nameOf = (op: Op, metadata: OpMetadata | undefined): string =>
  (metadata?.description['llb.customname'] ?? describe(op)).slice(0, MAX_NAME);

function describe({ op, inputs }: Op): string {
  switch (op.case) {
    case 'exec':
      return (op.value.meta?.args ?? []).join(' ');
    case 'source':
      return op.value.identifier;
    case 'file':
      return op.value.actions.map(describeAction).join(', ');
    case 'merge':
      return `merge (${inputs.map(({ digest }) => digest).join(', ')})`;
    case 'diff':
      return `diff (${inputs.map(({ digest }) => digest).join(' -> ')})`;
    case 'build':
      return 'build';
    default:
      return 'unknown';
  }
}

function describeAction({ action }: FileAction): string {
  switch (action.case) {
    case 'copy':
      return `copy ${action.value.src} ${action.value.dest}`;
    case 'mkfile':
      return `mkfile ${action.value.path}`;
    case 'mkdir':
      return `mkdir ${action.value.path}`;
    case 'rm':
      return `rm ${action.value.path}`;
    case 'symlink':
      return `symlink ${action.value.oldpath} -> ${action.value.newpath}`;
    default:
      return 'unknown action';
  }
}
