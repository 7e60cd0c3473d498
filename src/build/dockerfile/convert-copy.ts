import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { hasWildcard } from '../../storage/index.ts';
import * as llb from '../llb/index.ts';
import { type Conversion, notesOf, operationPlatformOf, platformOf } from './conversion.ts';
import { checksumOf, filenameOf, modeOf, ownershipOf } from './copy-words.ts';
import { PART } from './expansion-meter.ts';
import { gitOutput, isDownload, parseGitAddress } from './git-address.ts';
import { record } from './image-document.ts';
import type { AddInstruction, CopyInstruction } from './parse/index.ts';
import type { Command, StageBuild } from './stage.ts';
import { prefixed, stepName, withUpperKeyword } from './step-name.ts';

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** COPY or ADD with its variables in. */
interface Transfer {
  verb: 'COPY' | 'ADD';
  sources: readonly string[];
  inline: readonly { name: string; content: string }[];
  destination: string;
  chown: string;
  chmod: string;
  excludes: readonly string[];
  checksum: string;
  instruction: CopyInstruction | AddInstruction;
}

export function convertCopy(conversion: Conversion, stage: StageBuild, { instruction, sources }: Command): void {
  if (instruction.kind !== 'copy' && instruction.kind !== 'add') return;
  const [from] = sources;
  if (from !== undefined && !from.isDone) {
    const name = instruction.kind === 'copy' ? instruction.from : '';
    throw invalid(
      `cannot copy from stage ${JSON.stringify(name)}, it needs to be defined before current stage ${JSON.stringify(stage.label)}`,
    );
  }
  const { options, words, meter } = conversion;
  meter((instruction.sources.length + instruction.inline.length) * PART);
  const transfer = expanded(conversion, stage, instruction);
  const shown = withUpperKeyword(words.show(instruction.original, stage.env));
  const platform = platformOf(stage, conversion);
  const name = stepName(stage, shown, options.isMultiPlatform, platform);
  const tree = from === undefined ? conversion.context : from.tree;
  const notes = notesOf(conversion, stage, name, instruction.ranges);
  const fetched = { name, location: { source: conversion.source, ranges: instruction.ranges } };
  const changes = changesOf(stage, transfer, tree, fetched);
  if (instruction.isLink && transfer.chmod === '') {
    // Its files are a layer of their own, whatever lies below: it need not be made again when that changes.
    const progressGroup = { id: randomUUID(), name };
    const layer = llb.file(undefined, changes, { ...notes, progressGroup: { ...progressGroup, weak: true } });
    stage.tree = llb.merge(
      [stage.tree, layer],
      {
        ...notes,
        name: prefixed(stage, `LINK ${shown}`, options.isMultiPlatform, platform),
        progressGroup: { ...progressGroup, weak: false },
      },
      operationPlatformOf(stage, conversion),
    );
  } else {
    stage.tree = llb.file(stage.tree, changes, notes);
  }
  for (const source of transfer.sources) {
    if (transfer.verb === 'ADD' && isRemote(source)) continue;
    (from?.usedPaths ?? stage.contextPaths).add(posix.join('/', source));
    if (from === undefined) stage.checks?.source(instruction, source, conversion.ignored);
  }
  record(stage.image, historyOf(transfer), true, options.epochSeconds);
}

const isRemote = (source: string): boolean => {
  const repository = parseGitAddress(source);
  return isDownload(source) || (repository !== undefined && !repository.couldBePath);
};

function expanded({ words }: Conversion, stage: StageBuild, instruction: CopyInstruction | AddInstruction): Transfer {
  const expand = (word: string | undefined) => (word === undefined ? '' : words.expand(word, stage.env, instruction));
  return {
    verb: instruction.kind === 'add' ? 'ADD' : 'COPY',
    sources: instruction.sources.map(expand),
    inline: instruction.inline.map(({ name, content, isExpanded }) => ({
      name,
      content: isExpanded ? words.expandDocument(content, stage.env, instruction) : content,
    })),
    destination: expand(instruction.destination),
    chown: expand(instruction.chown),
    chmod: expand(instruction.chmod),
    excludes: instruction.excludes.map(expand),
    checksum: instruction.kind === 'add' ? expand(instruction.checksum) : '',
    instruction,
  };
}

function historyOf({ verb, instruction, chown, chmod, sources, inline, destination }: Transfer): string {
  return [
    verb,
    ...(instruction.keepsParents ? ['--parents'] : []),
    ...(chown === '' ? [] : [`--chown=${chown}`]),
    ...(chmod === '' ? [] : [`--chmod=${chmod}`]),
    ...sources,
    ...inline.map(({ name }) => `<<${name}`),
    destination,
    '# buildkit',
  ].join(' ');
}

function changesOf(
  stage: StageBuild,
  transfer: Transfer,
  tree: llb.Output | undefined,
  fetched: llb.VertexNotes,
): llb.FileChange[] {
  const { checksum, verb, sources } = transfer;
  if (checksum !== '' && (sources.length !== 1 || !isRemote(sources[0]!))) {
    throw invalid(
      sources.length === 1
        ? 'checksum requires HTTP(S) or Git sources'
        : "checksum can't be specified for multiple sources",
    );
  }
  const common = {
    kind: 'copy' as const,
    destination: destinationOf(stage, transfer.destination),
    owner: ownershipOf(transfer.chown),
    mode: modeOf(transfer.chmod),
    createsDestination: true,
    excludePatterns: transfer.excludes,
  };
  const changes = sources.map((source): llb.FileChange => {
    const repository = parseGitAddress(source);
    if (repository !== undefined && !repository.couldBePath) {
      if (verb === 'COPY') throw invalid("source can't be a git ref for COPY: use ADD");
      return { ...common, from: repositoryOf(transfer, source, fetched), source: '/' };
    }
    if (isDownload(source)) {
      if (verb === 'COPY') throw invalid("source can't be a URL for COPY: use ADD");
      const filename = filenameOf(source);
      const file = llb.http(source, { filename, checksum: checksumOf(checksum) }, fetched);
      return { ...common, from: file, source: filename, unpacks: unpacks(transfer) ?? false };
    }
    return {
      ...common,
      from: tree,
      ...placeOf(source, transfer.instruction.keepsParents),
      followsLinks: true,
      copiesContent: true,
      unpacks: unpacks(transfer) ?? verb === 'ADD',
      allowsWildcard: true,
      allowsEmptyWildcard: true,
    };
  });
  const files = transfer.inline.map((file): llb.FileChange => {
    const content = Buffer.from(file.content);
    const made = llb.file(undefined, [{ kind: 'mkfile', path: file.name, mode: 0o644, content }], {
      name: '[internal] preparing inline document',
    });
    return { ...common, from: made, source: file.name };
  });
  return [...changes, ...files];
}

const unpacks = ({ instruction }: Transfer): boolean | undefined =>
  instruction.kind === 'add' ? instruction.isUnpacked : undefined;

/** What of a tree is copied; with parents, what stands before `/./` is left out of the path. */
function placeOf(source: string, keepsParents: boolean) {
  if (!keepsParents) return { source: posix.join('/', source) };
  const pivot = source.indexOf('/./');
  const [top, below] = pivot < 0 ? ['/', source] : [source.slice(0, pivot), source.slice(pivot + 3)];
  const pattern = posix.join('/', below).slice(1);
  const isExact = !hasWildcard(top) && !hasWildcard(below);
  return {
    source: posix.join('/', top),
    includePatterns: [pattern],
    requiredPaths: isExact ? [posix.join('/', pattern)] : [],
  };
}

function repositoryOf(transfer: Transfer, source: string, notes: llb.VertexNotes): llb.Output {
  const repository = parseGitAddress(source)!;
  const { instruction, checksum } = transfer;
  const said = instruction.kind === 'add' ? instruction.keepsGitDir : undefined;
  if (said !== undefined && repository.keepsGitDirectory !== undefined && said !== repository.keepsGitDirectory) {
    throw invalid('inconsistent keep-git-dir configuration: the flag and the address differ');
  }
  if (checksum !== '' && repository.checksum !== undefined && checksum !== repository.checksum) {
    throw invalid(`checksum mismatch ${JSON.stringify(checksum)} != ${JSON.stringify(repository.checksum)}`);
  }
  const address = checksum === '' ? repository : { ...repository, checksum };
  return gitOutput(address, repository.keepsGitDirectory ?? said ?? false, notes);
}

/** A path in the stage; a slash at its end, and `.`, mean a folder. */
export function destinationOf(stage: StageBuild, path: string): string {
  const text = path === '.' || path === '' ? './' : path;
  const whole = text.startsWith('/') ? text : `${stage.directory}/${text}`;
  return llb.cleanPath(whole, true);
}
