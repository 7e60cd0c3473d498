import { TareError } from '../../../errors/index.ts';
import { expandWord, type FlagValues, type Word } from '../../../image/index.ts';
import type { CommandText } from './command-text.ts';
import { chompTabs, type HereDocumentStart, hereDocumentIn } from './here-document.ts';
import type { AddInstruction, CopyInstruction, Transfer } from './instruction.ts';

const shared = { chown: 'text', chmod: 'text', link: 'boolean', exclude: 'list' } as const;

export function parseCopy(text: CommandText): CopyInstruction {
  const { words, isJson } = requireWords(text);
  const flags = text.flags({ ...shared, from: 'text', parents: 'boolean' });
  const from = flags.text('from');
  if (from !== undefined && hasVariables(from)) {
    const message =
      'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround';
    throw text.failAtFlag(message, flags.offsetOf('from')!);
  }
  return {
    ...text.written,
    kind: 'copy',
    ...transferOf(text, words, isJson, flags),
    from: from === '' ? undefined : from,
  };
}

export function parseAdd(text: CommandText): AddInstruction {
  const { words, isJson } = requireWords(text);
  const flags = text.flags({ ...shared, checksum: 'text', 'keep-git-dir': 'boolean', unpack: 'boolean' });
  const checksum = flags.text('checksum');
  return {
    ...text.written,
    kind: 'add',
    ...transferOf(text, words, isJson, flags),
    checksum: checksum === '' ? undefined : checksum,
    keepsGitDir: flags.isTrue('keep-git-dir'),
    isUnpacked: flags.isTrue('unpack'),
  };
}

function requireWords(text: CommandText): { words: readonly Word[]; isJson: boolean } {
  const found = text.words();
  if (found.words.length >= 2) return found;
  throw text.line.fail(
    `${text.name} requires at least two arguments, but only one was provided. Destination could not be determined`,
  );
}

function transferOf(text: CommandText, words: readonly Word[], isJson: boolean, flags: FlagValues): Transfer {
  const destination = words.at(-1)!;
  const startOf = (word: Word) => (isJson ? undefined : startIn(word.text));
  if (startOf(destination) !== undefined) {
    throw text.failAt(`${text.name} cannot accept a heredoc as a destination`, destination.offset);
  }
  const contents = new Map(text.hereDocuments.map((document) => [document.name, document.content]));
  const sources: string[] = [];
  const inline: { name: string; content: string; isExpanded: boolean }[] = [];
  for (const word of words.slice(0, -1)) {
    const start = startOf(word);
    if (start === undefined) sources.push(word.text);
    else {
      const content = contents.get(start.name) ?? '';
      inline.push({
        name: start.name,
        content: start.isChomped ? chompTabs(content) : content,
        isExpanded: start.isExpanded,
      });
    }
  }
  const optional = (name: string) => flags.text(name) || undefined;
  return {
    sources,
    inline,
    destination: destination.text,
    chown: optional('chown'),
    chmod: optional('chmod'),
    isLink: flags.isTrue('link') ?? false,
    keepsParents: flags.isTrue('parents') ?? false,
    excludes: flags.list('exclude').map((flag) => flag.text),
  };
}

function startIn(word: string): HereDocumentStart | undefined {
  try {
    return hereDocumentIn(word);
  } catch (error) {
    if (error instanceof TareError) return undefined;
    throw error;
  }
}

function hasVariables(word: string): boolean {
  if (!word.includes('$')) return false;
  try {
    return expandWord(word, { variables: { get: () => undefined } }).unset.size > 0;
  } catch (error) {
    if (error instanceof TareError) return true;
    throw error;
  }
}
