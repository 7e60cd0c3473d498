import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { BuildProgress, FailedCommand } from '../../build/index.ts';
import type { BuildOptions, BuildOutcome, BuildOutput } from '../../engine/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';
import type { BuildDisplay } from '../build/display.ts';
import { buildFlags } from '../build/options.ts';
import { type Context, command } from '../command.ts';
import { exitCodeOf, interruption } from '../interrupt.ts';
import type { Values } from '../option.ts';
import { visibleText } from '../output/visible-text.ts';
import { namedHost } from '../transport/connect.ts';

type Flags = Values<typeof buildFlags>;

export default command({
  usage: '[OPTIONS] PATH | URL | -',
  description:
    'Builds with the engine in this process, also while a daemon runs: both use the same images and the same cache. With -H, --context or DOCKER_HOST the daemon that they name builds. Progress goes to standard error; with --quiet the image ID alone goes to standard output.',
  options: buildFlags,
  args: [1, 1],
  completes: 'directories',
  failure: exitCodeOf,
  async run(context, flags, [path]) {
    const { readFlags } = await import('../build/read-flags.ts');
    const options: BuildOptions = {
      ...readFlags(flags, path!, standardStreams),
      ...(flags.file === '-' ? { dockerfile: { bytes: await readInput() } } : {}),
    };
    const display = await openDisplay(context, flags);
    using interrupted = interruption();
    let outcome: BuildOutcome;
    let isTold = false;
    const report = async (error: unknown) => {
      if (isTold) return;
      isTold = true;
      display.end();
      const { failureReport } = await import('../build/failure-report.ts');
      context.err(failureReport(display.ledger, error));
    };
    const onFailure = async (failed: FailedCommand) => {
      await report(failed.error);
      await lookInto(context, failed);
    };
    try {
      const watch = {
        // What other steps still say would be written into the shell.
        progress: (progress: BuildProgress) => void (isTold || display.show(progress)),
        signal: interrupted.signal,
        ...(flags.debug && process.stdin.isTTY && process.stdout.isTTY ? { onFailure } : {}),
      };
      if (namedHost(context.globals, process.env) !== undefined) {
        const { buildAt } = await import('../local/remote-build.ts');
        const wantsProvenance = flags['metadata-file'] !== undefined;
        outcome = await buildAt(await context.connect(), options, watch, { wantsProvenance });
      } else {
        const { buildHere } = await import('../local/build.ts');
        outcome = await buildHere(context.globals, options, watch);
      }
    } catch (error) {
      await report(error);
      // Who interrupts a build is told no more than that.
      throw interrupted.signal.aborted ? interrupted.signal.reason : error;
    }
    display.end();
    return await tell(context, flags, display, outcome);
  },
});

const standardOutput: NonNullable<BuildOutput['destination']> = {
  async write(chunk) {
    if (process.stdout.isTTY)
      throw new TareError(
        'InvalidArgument',
        'an archive is not written to a terminal: name a file with dest=, or redirect standard output',
      );
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
  },
  async end() {},
};

const standardStreams = {
  // Made when it is first asked for, which few builds do.
  get input() {
    return process.stdin;
  },
  output: standardOutput,
};

/** A shell where a command failed. Whatever becomes of it, the build's own failure is what is told. */
async function lookInto(context: Context, failed: FailedCommand): Promise<void> {
  context.err(`${visibleText(messageOf(failed.error))}\nA shell where it failed; the build ends with it:\n`);
  try {
    const { debugShell } = await import('../build/debug-shell.ts');
    if (!(await debugShell(failed))) context.err('The image has no shell to be opened where the command failed.\n');
  } catch (error) {
    context.err(`No shell could be opened where the command failed: ${visibleText(messageOf(error))}\n`);
  }
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

async function openDisplay(context: Context, flags: Flags): Promise<BuildDisplay> {
  const asked = flags.quiet
    ? 'quiet'
    : flags.progress !== 'auto'
      ? flags.progress
      : (process.env['BUILDKIT_PROGRESS'] ?? 'auto');
  switch (asked) {
    case 'tty':
    case 'auto':
      // To ask the stream would make it, which takes a millisecond.
      if (isatty(2)) {
        const { TerminalDisplay } = await import('../build/terminal-display.ts');
        return new TerminalDisplay(context.err, process.stderr);
      }
      if (asked === 'tty') throw new TareError('InvalidArgument', '--progress tty: standard error is not a terminal');
      break;
    case 'rawjson': {
      const { RawDisplay } = await import('../build/raw-display.ts');
      return new RawDisplay(context.err);
    }
    case 'quiet':
    case 'none': {
      const { PlainDisplay } = await import('../build/plain-display.ts');
      return new PlainDisplay(() => {});
    }
    case 'plain':
      break;
    default:
      throw new TareError(
        'InvalidArgument',
        `--progress ${JSON.stringify(asked)}: want auto, quiet, plain, tty or rawjson`,
      );
  }
  const { PlainDisplay } = await import('../build/plain-display.ts');
  return new PlainDisplay(context.err);
}

async function tell(context: Context, flags: Flags, display: BuildDisplay, outcome: BuildOutcome): Promise<number> {
  const { answer, imageID = outcome.digest } = outcome;
  if (answer !== undefined) {
    const isDocument = /,format=json$/.test(flags.call);
    const isCheck = flags.check || flags.call.split(',')[0] === 'check';
    context.out(isDocument ? answer.json : `${isCheck ? checkSummary(answer.json) : ''}${answer.text}`);
    return answer.status;
  }
  const { warningReport } = await import('../build/failure-report.ts');
  context.err(flags.quiet ? '' : warningReport(display.ledger, flags.debug));
  if (flags.iidfile !== undefined) writeResult(flags.iidfile, imageID ?? '');
  if (flags['metadata-file'] !== undefined) writeResult(flags['metadata-file'], metadataText(outcome));
  if (flags.quiet && imageID !== undefined) context.out(`${imageID}\n`);
  return 0;
}

/** As docker's client says it. */
function checkSummary(document: string): string {
  const { warnings = [] } = JSON.parse(document) as { warnings?: unknown[] };
  if (warnings.length === 0) return 'Check complete, no warnings found.\n';
  const found = warnings.length === 1 ? '1 warning has' : `${warnings.length} warnings have`;
  return `Check complete, ${found} been found!\n`;
}

function writeResult(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new TareError('InvalidArgument', `the image was built, but ${path} cannot be written: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** What exporters told, with documents among it as such, and how it was made (buildx's `--metadata-file`). */
function metadataText({ exporterResponse, provenance = [] }: BuildOutcome): string {
  const made = provenance.map(({ platform, predicate }) => [
    `buildx.build.provenance${platform === undefined ? '' : `/${platform}`}`,
    predicate,
  ]);
  const document = [...made, ...Object.entries(exporterResponse).map(([key, value]) => [key, documentOf(value)])];
  return `${JSON.stringify(Object.fromEntries(document), null, 2)}\n`;
}

/** A document in base64, as exporters hand descriptors and provenance over; else the text. */
function documentOf(value: string): unknown {
  const decoded = Buffer.from(value, 'base64');
  if (decoded.toString('base64') !== value || decoded[0] !== 0x7b) return value;
  try {
    return JSON.parse(decoded.toString());
  } catch {
    return value;
  }
}
