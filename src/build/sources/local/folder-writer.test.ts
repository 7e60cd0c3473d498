import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { S_IFDIR, S_IFREG } from '../../../linux/index.ts';
import { walkFolder } from './folder-walk.ts';
import { FolderWriter } from './folder-writer.ts';
import type { CheckedEntry } from './sent-entry.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tare-folder-'));
  return () => rmSync(root, { recursive: true, force: true });
});

const entry = (path: string, type = S_IFREG): CheckedEntry => ({
  ...{ path, type, permissions: 0o755, uid: 0, gid: 0, sizeBytes: 1_000_000, modifiedNs: 0n },
  ...{ target: undefined, deviceMajor: 0, deviceMinor: 0, xattrs: [] },
});

/** Descriptors of this process that lead into the test's folder. */
const opened = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(root) ? [path] : [];
    } catch {
      return [];
    }
  });

test('when something cannot be written, nothing stays open', async () => {
  const [target, from] = [join(root, 'target'), join(root, 'from')];
  for (const folder of [target, from]) mkdirSync(folder);
  const writer = new FolderWriter(target, from, () => {});
  const fill = async () => {
    for (let index = 0; index < 100; index += 1) {
      await writer.order({ act: 'folder', entry: entry(`d${index}`, S_IFDIR), isThere: false });
      const write = await writer.begin(entry(`d${index}/f`));
      await write(Buffer.alloc(100));
    }
    await writer.flush();
    expect(opened().length).toBeGreaterThan(100);
    await writer.order({ act: 'copy', entry: entry('missing') });
    await writer.flush();
  };
  await expect(fill()).rejects.toThrow('"missing" of a context is not where it was said to be');
  await writer[Symbol.asyncDispose]();
  expect(opened()).toEqual([]);
});

test('a folder to be copied from that is gone leaves nothing open', async () => {
  mkdirSync(join(root, 'target'));
  await using writer = new FolderWriter(join(root, 'target'), join(root, 'gone'), () => {});
  await writer.order({ act: 'copy', entry: { ...entry('x'), sizeBytes: 1 } });
  await expect(writer.flush()).rejects.toThrow('ENOENT');
  expect(opened()).toEqual([]);
});

test('what is removed while a folder is walked through is said by its name', async () => {
  writeFileSync(join(root, 'a'), '');
  symlinkSync('a', join(root, 'link'));
  const problems: string[] = [];
  for await (const batch of walkFolder(root, {}, new AbortController().signal)) {
    rmSync(join(root, 'link'), { force: true });
    for (const packed of batch) {
      try {
        packed.unpack();
      } catch (error) {
        problems.push(String(error));
      }
    }
  }
  expect(problems).toEqual([expect.stringContaining('"link" was removed while the folder was read: build again')]);
});
