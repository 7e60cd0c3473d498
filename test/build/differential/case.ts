import { chmodSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A file of a context: its text, or more about it. */
export type ContextFile =
  | string
  | { content?: string | Uint8Array; mode?: number }
  | { symlink: string }
  | { hardlink: string }
  | { folder: number };

/** A Dockerfile whose image must be the one that another builder makes of it. */
export interface Case {
  name: string;
  dockerfile: string;
  files?: Readonly<Record<string, ContextFile>>;
  /** More words for `docker build`. */
  args?: readonly string[];
  /** Buildah of Debian 12 knows all that it uses, and means the same by it. */
  isOld?: boolean;
}

/** Lays a case's context and its Dockerfile out in a folder. */
export function writeContext(folder: string, { dockerfile, files = {} }: Case): void {
  const all: Record<string, ContextFile> = { Dockerfile: dockerfile, ...files };
  for (const [path, file] of Object.entries(all)) {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    if (typeof file === 'string') writeFileSync(target, file);
    else if ('symlink' in file) symlinkSync(file.symlink, target);
    else if ('hardlink' in file) linkSync(join(folder, file.hardlink), target);
    else if ('folder' in file) {
      mkdirSync(target, { recursive: true });
      chmodSync(target, file.folder);
    } else {
      writeFileSync(target, file.content ?? '');
      chmodSync(target, file.mode ?? 0o644);
    }
  }
}
