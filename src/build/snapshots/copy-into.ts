import { TareError } from '../../errors/index.ts';
import { AT_FDCWD, O_DIRECTORY, O_PATH, OpenFile, openAt } from '../../linux/index.ts';
import type { CopyAction, OwnerName } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { modeOf, ownershipOf } from '../dockerfile/copy-words.ts';
import type { FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { emptyTree, type Tree } from '../tree.ts';
import { outsideSource } from './outside-sources.ts';
import type { CopyInto } from './snapshot-types.ts';

const invalid = (message: string) => new TareError('InvalidArgument', message);

/**
 * Copies files into a snapshot, which nothing else changes meanwhile. All is looked for before anything is changed; when a copy fails in
 * the middle, what was copied stays.
 *
 * @throws {TareError} NotFound: a source; InvalidArgument: an owner, a mode, a checksum
 */
export async function copyInto(
  { layers }: Pick<BuilderParts, 'layers'>,
  request: CopyInto,
  bridge: FrontendBridge,
): Promise<void> {
  const { sources, checksum = '', isAdd, origin } = request;
  if (sources.length === 0) throw invalid('nothing is named that is to be copied');
  const fetched = sources.map((source) => outsideSource(source, checksum));
  const address = sources.find((_, index) => fetched[index] !== undefined);
  if (!isAdd && address !== undefined) throw invalid(`${address} is an address, which copy does not fetch: add does`);
  if (checksum !== '' && (fetched.length !== 1 || fetched[0] === undefined))
    throw invalid('a checksum is of one file or repository that is fetched: name its address');
  if (fetched.some((one) => one !== undefined) && !('host' in origin) && !('folder' in origin))
    throw invalid('addresses are not in an image or a container: leave --from out');
  const mode = modeOf(request.mode ?? '');
  await using opened = new AsyncDisposableStack();
  const trees = await Promise.all(fetched.map((one) => one && treeOf(bridge, one.output, request)));
  const plain = fetched.includes(undefined) ? await openOrigin(layers, request, bridge, opened) : -1;
  const root = opened.use(await layers.openRoot(request.snapshot));
  const actions: CopyAction[] = [];
  for (const [index, source] of sources.entries()) {
    const tree = trees[index];
    actions.push({
      type: 'copy',
      tree: tree === undefined ? plain : opened.use(await layers.openTree(tree.layers)).fd,
      source: fetched[index]?.path ?? source,
      destination: request.destination,
      ...ownersOf(request, root.fd),
      ...(mode === undefined ? {} : { mode }),
      followsLinks: true,
      contentsOnly: true,
      unpacks: isAdd && tree === undefined,
      keepsUnpackedOwners: (request.owner ?? '') === '',
      makesParents: true,
      allowsWildcard: tree === undefined,
      allowsNothing: false,
      replaces: false,
      includePatterns: [],
      excludePatterns: request.excludePatterns ?? [],
    });
  }
  const { destination } = request;
  const expected = { type: 'expect', sources: actions, destination, ...ownersOf(request, root.fd) } as const;
  await layers.runFileActions({ tree: root.fd, actions: [expected, ...actions] }, bridge.signal);
}

/** @returns a descriptor of the tree that paths are of; the stack's to close */
async function openOrigin(
  layers: BuilderParts['layers'],
  request: CopyInto,
  bridge: FrontendBridge,
  opened: AsyncDisposableStack,
): Promise<number> {
  const { origin } = request;
  if ('host' in origin) return opened.use(new OpenFile(openAt(AT_FDCWD, '/', O_PATH | O_DIRECTORY))).fd;
  if ('snapshot' in origin) return opened.use(await layers.openRoot(origin.snapshot)).fd;
  const output =
    'image' in origin
      ? llb.image(origin.image, { platform: request.platform }, { name: `FROM ${origin.image}` })
      : llb.local(origin.folder, {
          sessionID: bridge.sessionID,
          sharedKeyHint: origin.folder,
          excludePatterns: origin.excludePatterns,
        });
  const tree = await treeOf(bridge, output, request);
  return opened.use(await layers.openTree(tree.layers)).fd;
}

/** Makes a tree, which is kept until the bridge's build ends. */
export async function treeOf(
  bridge: FrontendBridge,
  output: llb.Output,
  { platform }: Pick<CopyInto, 'platform'>,
): Promise<Tree> {
  const { ref } = await bridge.solve({ definition: llb.marshal(output, platform) });
  return (await ref?.tree()) ?? emptyTree;
}

/** What is copied from an image or a container stays whose it was. */
function ownersOf({ owner = '', origin }: CopyInto, tree: number): { user?: OwnerName; group?: OwnerName } {
  const asked = ownershipOf(owner);
  if (asked === undefined) return 'host' in origin || 'folder' in origin ? { user: { id: 0 }, group: { id: 0 } } : {};
  const named = (one: llb.Owner): OwnerName => (typeof one === 'number' ? { id: one } : { name: one, tree });
  return {
    ...(asked.user === undefined ? {} : { user: named(asked.user) }),
    ...(asked.group === undefined ? {} : { group: named(asked.group) }),
  };
}
