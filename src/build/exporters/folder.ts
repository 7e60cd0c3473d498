import { createHash } from 'node:crypto';
import { basename, extname } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, toByteString } from '../../linux/index.ts';
import { encodeHeader, endOfArchive, type OpenTree, padding, type TarEntryType } from '../../storage/index.ts';
import { type StatementSubject, statementOf } from '../attestations/statement.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ExportContext, ExportedPart, Exporter, ExportSource } from '../exporter.ts';
import type { SentEntry, SentFolder } from '../session.ts';
import { Attributes } from './attributes.ts';
import { epochOf } from './epoch.ts';
import { fileBytes, type TreeEntry, treeEntries } from './tree-entries.ts';
import { warnOfUnknown } from './unknown-options.ts';
import { shown } from './work-status.ts';

interface FolderOptions {
  isSplit: boolean;
  attestationPrefix: string;
  epoch: string | undefined;
}

/** One platform's files as they are exported. */
interface ExportedTree {
  root: OpenTree;
  /** '' or ending in a slash. */
  prefix: string;
  epochMs: number | undefined;
  /** Beside the tree's own files. */
  documents: { path: string; bytes: Buffer }[];
}

/** `local`: the files of the result in a folder at the client; `tar`: the same as a tar. Several platforms get a folder each. */
export const folderExporter =
  (parts: BuilderParts, type: 'local' | 'tar'): Exporter =>
  async (source, context) => {
    const attributes = new Attributes(`exporter ${type}`, context.attributes);
    const isSplit = attributes.flag('platform-split', source.isMultiPlatform || source.parts.length > 1);
    if (!isSplit && source.parts.length > 1 && type === 'tar') {
      throw new TareError(
        'InvalidArgument',
        'exporter tar: platform-split=false would mix the files of several platforms',
      );
    }
    const options = {
      isSplit,
      attestationPrefix: attributes.text('attestation-prefix') ?? '',
      epoch: attributes.text('source-date-epoch'),
    };
    attributes.ignore('dest', 'tar', 'mode');
    warnOfUnknown(attributes, context);
    await using _content = await parts.holdContent();
    await using opened = new AsyncDisposableStack();
    const trees: ExportedTree[] = [];
    for (const part of source.parts) trees.push(await openPart(parts, source, part, options, opened, context.signal));
    if (type === 'tar') await shown(context.progress, 'sending tarball', () => sendTar(trees, context));
    else await sendFolders(trees, options.isSplit, context);
    return {};
  };

/** Side by side in one, or one after the other into the same. @throws {TareError} Conflict: two platforms have a file of one name */
async function sendFolders(
  trees: readonly ExportedTree[],
  isSplit: boolean,
  { session, exporterID, progress, signal }: ExportContext,
): Promise<void> {
  const sent = isSplit ? [trees] : trees.map((tree) => [tree]);
  if (!isSplit && trees.length > 1) {
    const files = new Set<string>();
    for (const tree of trees) {
      for await (const { entry } of entriesOf([tree])) {
        if ((entry.mode & S_IFMT) === S_IFDIR) continue;
        if (files.has(entry.path)) throw taken(entry.path);
        files.add(entry.path);
      }
    }
  }
  await shown(progress, 'copying files', async () => {
    for (const one of sent) await session.sendFolder(exporterID, sentFolder(one), signal);
  });
}

const taken = (path: string) =>
  new TareError(
    'Conflict',
    `two platforms have a file /${path}: with platform-split=true each gets a folder of its own`,
  );

async function openPart(
  parts: BuilderParts,
  source: ExportSource,
  part: ExportedPart,
  { isSplit, attestationPrefix, epoch }: FolderOptions,
  opened: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<ExportedTree> {
  const root = opened.use(await parts.layers.openTree(part.tree.layers));
  const prefix = isSplit ? `${part.platformID.replaceAll('/', '_')}/` : '';
  const epochMs = epochOf(epoch, source.metadata, part.platformID);
  const isOnly = source.parts.length === 1;
  const told = part.attestations.filter(({ isInlineOnly }) => !isInlineOnly);
  if (told.length === 0) return { root, prefix, epochMs, documents: [] };
  const subjects = await fileSubjects(root.fd, signal);
  const documents = new Map<string, Buffer>();
  for (const attestation of told) {
    const path = `${attestationPrefix}${nameOf(attestation.path, isSplit || isOnly ? undefined : part.platformID)}`;
    if (documents.has(path) || /^$|^\.\.?$|[/\u0000]/.test(path)) {
      throw new TareError(
        'InvalidArgument',
        `attestation ${JSON.stringify(path)}: want names of files that differ, without slashes`,
      );
    }
    const form = { createdMs: epochMs ?? parts.now() };
    documents.set(path, (await statementOf(attestation, subjects, form)).bytes);
  }
  const taken = subjects.find(({ name }) => documents.has(name));
  if (taken !== undefined) {
    throw new TareError(
      'Conflict',
      `attestation ${taken.name}: the result has a file of this name: set attestation-prefix`,
    );
  }
  return { root, prefix, epochMs, documents: [...documents].map(([path, bytes]) => ({ path, bytes })) };
}

/** `provenance.linux_arm64.json`, where documents of several platforms lie in one folder. */
function nameOf(path: string, platformID: string | undefined): string {
  const name = basename(path);
  if (platformID === undefined) return name;
  const extension = extname(name);
  return `${basename(name, extension)}.${platformID.replaceAll('/', '_')}${extension}`;
}

/** The files that a statement about an exported folder speaks of. */
async function fileSubjects(rootFd: number, signal: AbortSignal): Promise<StatementSubject[]> {
  const subjects: StatementSubject[] = [];
  for await (const { entry, place } of treeEntries(rootFd, '', undefined)) {
    if ((entry.mode & S_IFMT) !== S_IFREG) continue;
    signal.throwIfAborted();
    const hash = createHash('sha256');
    for await (const chunk of fileBytes(rootFd, place)) hash.update(chunk);
    subjects.push({ name: entry.path, digest: { sha256: hash.digest('hex') } });
  }
  return subjects;
}

const byBytes = (a: string, b: string): number => (toByteString(a) < toByteString(b) ? -1 : 1);

/** All entries in the order in which they are sent, each with its bytes if it has any. */
async function* entriesOf(
  trees: readonly ExportedTree[],
): AsyncGenerator<{ entry: SentEntry; names?: TreeEntry['names']; bytes: () => AsyncIterable<Uint8Array> }> {
  for (const { root, prefix, epochMs, documents } of [...trees].sort((a, b) => byBytes(a.prefix, b.prefix))) {
    const modifiedNs = BigInt(epochMs ?? 0) * 1_000_000n;
    const owner = { uid: 0, gid: 0, modifiedNs };
    const nothing = async function* () {};
    if (prefix !== '') {
      yield { entry: { path: prefix.slice(0, -1), mode: S_IFDIR | 0o755, sizeBytes: 0, ...owner }, bytes: nothing };
    }
    const waiting = [...documents].sort((a, b) => byBytes(a.path, b.path));
    const documentEntry = ({ path, bytes }: (typeof documents)[number]) => ({
      entry: { path: prefix + path, mode: S_IFREG | 0o600, sizeBytes: bytes.byteLength, ...owner },
      bytes: async function* () {
        yield bytes;
      },
    });
    for await (const { entry, place, names } of treeEntries(root.fd, prefix, epochMs)) {
      const inside = entry.path.slice(prefix.length);
      const isTop = !inside.includes('/');
      while (isTop && waiting[0] !== undefined && byBytes(waiting[0].path, inside) < 0)
        yield documentEntry(waiting.shift()!);
      yield { entry, names, bytes: () => fileBytes(root.fd, place) };
    }
    for (const document of waiting) yield documentEntry(document);
  }
}

function sentFolder(trees: readonly ExportedTree[]): SentFolder {
  const contents: (() => AsyncIterable<Uint8Array>)[] = [];
  const entries = async function* () {
    for await (const { entry, bytes } of entriesOf(trees)) {
      contents.push(bytes);
      yield entry;
    }
  };
  return {
    entries: entries(),
    read: (index) => {
      const content = contents[index];
      if (content === undefined)
        throw new TareError('InvalidArgument', `the client asks for file ${index}, which was not sent`);
      return content();
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

const tarTypes = new Map<number, TarEntryType>([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'link'],
  [S_IFCHR, 'character'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
]);

async function sendTar(trees: readonly ExportedTree[], { session, exporterID, signal }: ExportContext): Promise<void> {
  await using sink = await session.fileSink(exporterID, {});
  for await (const { entry, names, bytes } of entriesOf(trees)) {
    signal.throwIfAborted();
    const { mode, uid, gid, sizeBytes, modifiedNs, deviceMajor, deviceMinor, xattrs } = entry;
    const { path, target } = names ?? { path: toByteString(entry.path), target: undefined };
    const own = tarTypes.get(mode & S_IFMT)!;
    const type = target !== undefined && own !== 'link' ? 'hardlink' : own;
    await sink.write(
      encodeHeader({
        path,
        ...{ type, uid, gid, sizeBytes: type === 'file' ? sizeBytes : 0, modifyNs: modifiedNs, mode: mode & 0o7777 },
        ...(target === undefined ? {} : { linkTarget: target }),
        ...(deviceMajor === undefined ? {} : { deviceMajor, deviceMinor: deviceMinor ?? 0 }),
        ...(xattrs === undefined
          ? {}
          : { xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [toByteString(key), Buffer.from(value)])) }),
      }),
    );
    if (type !== 'file') continue;
    for await (const chunk of bytes()) await sink.write(chunk);
    await sink.write(padding(sizeBytes));
  }
  await sink.write(endOfArchive());
  await sink.close();
}
