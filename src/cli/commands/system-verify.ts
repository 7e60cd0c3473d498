import { command } from '../command.ts';
import { shortId } from '../output/text.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS] [IMAGE...]',
  description:
    'Reads every blob and compares it with its digest, the documents of each image with each other, and each unpacked layer with its record. Ends with 1 when damage remains.',
  options: {
    deep: { type: 'bool', help: 'Unpack each layer once more and compare every file' },
    quiet: { type: 'bool', short: 'q', help: 'Only show damage' },
    repair: { type: 'bool', help: 'Fetch damaged blobs from their registries, unpack damaged layers again' },
  },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    const { verify } = await import('../local/verify.ts');
    using line = statusLine(context.err, !options.quiet && process.stderr.isTTY === true);
    let remaining = 0;
    const images = names.length > 0 ? { images: names } : {};
    await verify(context.globals, { ...images, deep: options.deep, repair: options.repair }, (message) => {
      if (message.type === 'progress') {
        const { doing, doneBytes, totalBytes } = message;
        const amount = (count: number) => (doing === 'blobs' ? humanSize(count) : String(count));
        line.show(`Checking ${doing}: ${amount(doneBytes)} of ${amount(totalBytes)}`);
        return;
      }
      line.show('');
      if (message.type === 'damage') {
        const { what, id, images: users, problem, isRepaired, obstacle } = message.damage;
        const of =
          users.length > 0
            ? ` of ${users.map((user) => (user.startsWith('sha256:') ? shortId(user) : user)).join(', ')}`
            : '';
        context.out(`${isRepaired ? 'Repaired' : 'Damaged'}: ${what} ${id}${of}: ${problem}\n`);
        if (obstacle !== undefined) context.out(`  not repaired: ${obstacle}\n`);
        return;
      }
      const { checked, damaged, repaired } = message;
      remaining = damaged - repaired;
      if (options.quiet) return;
      const whole = `${checked.images} images, ${checked.blobs} blobs (${humanSize(checked.bytes)}), ${checked.layers} unpacked layers`;
      context.out(`Checked ${whole}: ${outcome(damaged, repaired)}\n`);
    });
    return remaining > 0 ? 1 : 0;
  },
});

function outcome(damaged: number, repaired: number): string {
  if (damaged === 0) return 'all is whole';
  return `${damaged} damaged${repaired > 0 ? `, ${repaired} repaired` : ''}`;
}

/** One line of a terminal that is written over and over, and gone in the end. */
function statusLine(write: (text: string) => void, isShown: boolean): Disposable & { show(text: string): void } {
  let shown = '';
  const show = (text: string): void => {
    if (!isShown || text === shown) return;
    shown = text;
    write(`\r\x1b[K${text}`);
  };
  return { show, [Symbol.dispose]: () => show('') };
}
