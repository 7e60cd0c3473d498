import { command } from '../command.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS]',
  description:
    'Fetches the databases of OSV (osv.dev), one zip file an ecosystem; what has not changed is not fetched again. Without --ecosystem: Debian, Ubuntu, Alpine, npm, PyPI, Go and Maven. The proxy of the environment (HTTPS_PROXY, NO_PROXY) is used.',
  options: {
    db: {
      type: 'string',
      help: 'Folder to keep them in (default: scan-db of the data root)',
      completes: 'directories',
    },
    ecosystem: { type: 'list', help: 'Ecosystem to fetch, in the words of OSV ("Debian:12", "Rocky Linux")' },
    from: { type: 'string', help: "Address of a copy of OSV's databases (default: OSV's own)" },
  },
  args: [0, 0],
  async run(context, { db, ecosystem, from }) {
    const { updateDatabases } = await import('../local/image-scan.ts');
    const options = {
      ...(ecosystem.length === 0 ? {} : { ecosystems: ecosystem }),
      ...(from === undefined ? {} : { from }),
    };
    for await (const update of updateDatabases(context.globals, db, options)) {
      const { receivedBytes } = update;
      context.out(
        `${update.ecosystem}: ${receivedBytes === undefined ? 'up to date' : `received ${humanSize(receivedBytes)}`}\n`,
      );
    }
    return 0;
  },
});
