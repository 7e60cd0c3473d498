/** What happens to a build's instructions, told in the file's order, whatever runs side by side. */
export type InstructionEvent =
  /** Once, before all others. */
  | {
      type: 'plan';
      /** Each on one line. */
      instructions: readonly string[];
      /** Arguments that were given and that no instruction declares. */
      unusedArgs: readonly string[];
    }
  | { type: 'begin'; index: number }
  /** An image has left this many instructions to be run now. */
  | { type: 'triggers'; count: number }
  /** A command runs for it; `id` names it in no other way. */
  | { type: 'run'; id: string }
  | { type: 'output'; stream: 1 | 2; bytes: Uint8Array }
  | {
      type: 'end';
      isCached: boolean;
      /** 64 hex digits by which what it made is known: of an image its id, else ours alone; '' for the empty image, undefined for nothing. */
      id?: string;
    }
  /** The build ends here. `command` and `exitCode`: what ran, and how it ended. `transfers`: it was to copy files. */
  | { type: 'failed'; command?: string; exitCode?: number; transfers: boolean };

export type InstructionSink = (event: InstructionEvent) => void;
