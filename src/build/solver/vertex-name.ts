import type { FileAction, Op, OpMetadata } from '../../protocol/index.ts';

const MAX_NAME = 4096;

/** What users read of a vertex: what its maker calls it, else what it does. @param inputNames of its inputs, in order */
export const nameOf = (op: Op, metadata: OpMetadata | undefined, inputNames: readonly string[]): string =>
  (metadata?.description['llb.customname'] ?? described(op, inputNames)).slice(0, MAX_NAME);

function described({ op }: Op, inputNames: readonly string[]): string {
  const inputName = (input: bigint | undefined) =>
    input === undefined || input < 0n ? 'scratch' : `(${inputNames[Number(input)] ?? ''})`;
  switch (op.case) {
    case 'exec':
      return (op.value.meta?.args ?? []).join(' ');
    case 'source':
      return op.value.identifier;
    case 'file':
      return describedActions(op.value.actions);
    case 'merge':
      return `merge (${inputNames.join(', ')})`;
    case 'diff':
      return `diff ${inputName(op.value.lower?.input)} -> ${inputName(op.value.upper?.input)}`;
    case 'build':
      return 'build';
    default:
      return 'unknown';
  }
}

/** What file actions do, in one line. */
export const describedActions = (actions: readonly FileAction[]): string => actions.map(describedAction).join(', ');

function describedAction({ action }: FileAction): string {
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
      return `symlink ${action.value.newpath} -> ${action.value.oldpath}`;
    default:
      return 'unknown action';
  }
}
