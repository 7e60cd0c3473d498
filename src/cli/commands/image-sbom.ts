import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { documentOptions, problemText, writeDocument } from '../output/document.ts';
import { table } from '../output/table.ts';
import { visibleText } from '../output/visible-text.ts';

const formats = ['spdx-json', 'cyclonedx-json', 'table'] as const;

export default command({
  usage: '[OPTIONS] IMAGE',
  description:
    'Lists the packages of Debian, Alpine and RPM distributions, of npm, PyPI and Maven, and the modules of Go programs. They are read from the layers of an image that is here; nothing of it is run. What could not be read is told on standard error.',
  options: {
    format: {
      type: 'string',
      default: 'spdx-json',
      help: 'Format of the output: spdx-json (SPDX 2.3), cyclonedx-json (CycloneDX 1.6) or table',
      completes: formats,
    },
    ...documentOptions,
  },
  args: [1, 1],
  completes: 'images',
  async run(context, { format, output, platform }, [image]) {
    const known = formats.find((name) => name === format);
    if (known === undefined) {
      throw new TareError('InvalidArgument', `unknown format ${JSON.stringify(format)}: want ${formats.join(', ')}`);
    }
    const { imageBom } = await import('../local/image-bom.ts');
    const { catalogue, document } = await imageBom(context.globals, image!, {
      ...(known === 'table' ? {} : { format: known }),
      ...(platform === undefined ? {} : { platform }),
    });
    for (const problem of catalogue.problems) context.err(`WARNING: ${visibleText(problemText(problem))}\n`);
    const text =
      document === undefined
        ? table([
            ['NAME', 'VERSION', 'TYPE', 'FOUND IN'],
            ...catalogue.packages.map(({ name, version, type, path }) =>
              [name, version, type, `/${path}`].map(visibleText),
            ),
          ])
        : `${JSON.stringify(document, null, 2)}\n`;
    await writeDocument(context, output, text);
    return 0;
  },
});
