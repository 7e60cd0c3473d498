import { TareError } from '../../../errors/index.ts';
import { expandWord } from '../../../image/index.ts';
import type { HereDocument } from './instruction.ts';

export type HereDocumentStart = Omit<HereDocument, 'content'>;

const nothing = { get: () => undefined };

/** A word that begins a here-document: `<<EOF`, `<<-EOF`, `3<<"EOF"`. @throws {TareError} an open quote */
export function hereDocumentIn(word: string): HereDocumentStart | undefined {
  const [, descriptor, dash, rest] = /^(\d{0,9})<<(-?)\s*([^<]*)$/.exec(word) ?? [];
  if (rest === undefined || rest === '') return undefined;
  const { words } = expandWord(rest, { variables: nothing, keepsUnset: true });
  if (words.length !== 1) return undefined;
  const [quoted] = expandWord(rest, { variables: nothing, keepsUnset: true, keepsQuotes: true }).words;
  const name = words[0]!;
  return {
    name,
    isExpanded: quotesIn(name) === quotesIn(quoted ?? ''),
    isChomped: dash === '-',
    fileDescriptor: Number(descriptor),
  };
}

/** The here-documents that a line begins, in order. */
export function hereDocumentsIn(line: string): HereDocumentStart[] {
  if (!line.includes('<<')) return [];
  let words: readonly string[];
  try {
    ({ words } = expandWord(line, { variables: nothing, keepsUnset: true, keepsQuotes: true, keepsEscapes: true }));
  } catch (error) {
    // What the shell may understand need not be words to us: then nothing in it is a here-document.
    if (error instanceof TareError) return [];
    throw error;
  }
  return words.map(hereDocumentIn).filter((start) => start !== undefined);
}

/** Takes the tabs off line starts, as `<<-` has it. */
export function chompTabs(content: string): string {
  return content.replaceAll(/^\t+/gm, '');
}

function quotesIn(text: string): number {
  return text.replaceAll(/[^'"]/g, '').length;
}
