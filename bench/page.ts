/** docs/benchmarks.md: a section a part, by the part's name; each from one run. */
export interface Page {
  /** What all figures depend on. */
  machine: string;
  sections: ReadonlyMap<string, string>;
}

const title = '# Benchmarks';
const about = `Written by \`make bench\`: the figures of a section are from one run, the contenders taking turns. Tare and Docker are driven through the
same docker client. The *floor* of \`run\` is docker's client alone plus conmon and crun creating, starting and deleting the same bundle by
hand. \`make bench ONLY=PART\` measures one section anew.`;

export function writePage({ machine, sections }: Page): string {
  const parts = [...sections].map(([name, text]) => `## ${name}\n\n${text}`);
  return `${[title, about, machine, ...parts].join('\n\n')}\n`;
}

/** @throws when the text is not what `writePage` writes */
export function readPage(text: string): Page {
  const [head = '', ...parts] = text.trimEnd().split('\n\n## ');
  const machine = head.split('\n\n').at(-1);
  if (machine === undefined || !head.startsWith(title))
    throw new Error('docs/benchmarks.md is not as `make bench` writes it');
  const sections = parts.map((part): [string, string] => {
    const end = part.indexOf('\n\n');
    return [part.slice(0, end), part.slice(end + 2)];
  });
  return { machine, sections: new Map(sections) };
}
