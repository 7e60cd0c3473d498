import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { formatList } from '../output/listing.ts';
import { type FoundRepository, searchListing, searchRow } from '../output/search.ts';
import { authHeader } from '../registry-auth.ts';

export default command({
  usage: '[OPTIONS] TERM',
  description:
    'A term that begins with a registry, as in `registry.example.com/nginx`, is looked up there, where that registry can search.',
  options: {
    filter: {
      type: 'list',
      short: 'f',
      value: 'filter',
      help: 'Filter output based on conditions provided (is-official=true, stars=NUMBER)',
    },
    format: formatOption,
    limit: { type: 'int', help: 'Max number of search results' },
    'no-trunc': { type: 'bool', help: "Don't truncate output" },
  },
  args: [1, 1],
  async run(context, options, [term]) {
    const filters = parseFilters(options.filter);
    const client = await context.connect();
    const { authForRegistry } = await import('../local/credentials.ts');
    const auth = await authForRegistry(context.globals, registryOf(term!));
    const { body } = await client.stream('GET', '/images/search', {
      query: { term, limit: options.limit, filters },
      headers: authHeader(auth),
    });
    const { textOf } = await import('../transport/client.ts');
    const found = JSON.parse(await textOf(body)) as FoundRepository[];
    const rows = found.map((repository) => searchRow(repository, options['no-trunc']));
    context.out(formatList(searchListing, rows, options));
    return 0;
  },
});

/** The registry that a term begins with, '' for the default one. */
function registryOf(term: string): string {
  const slash = term.indexOf('/');
  const first = term.slice(0, Math.max(0, slash));
  return first === 'localhost' || /[.:]/.test(first) ? first : '';
}
