export { detectSyntax, type Syntax } from './directives.ts';
export { chompTabs, hereDocumentIn } from './here-document.ts';
export type * from './instruction.ts';
export { MAX_FILE_BYTES } from './limits.ts';
export { parseDockerfile, parseTrigger } from './parse-dockerfile.ts';
export { readMount } from './read-mount.ts';
