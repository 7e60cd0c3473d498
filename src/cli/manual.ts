import { commands, type Entry, groups } from './catalogue.ts';
import { type Command, globalOptions } from './command.ts';
import { flags } from './help.ts';
import type { Options } from './option.ts';
import { VERSION } from './version.ts';

/** The manual page tare(1) in roff's man macros. */
export async function manualPage(): Promise<string> {
  const all: [string, Entry][] = [
    ...Object.entries(commands),
    ...Object.entries(groups).flatMap(([group, { commands: own }]) =>
      Object.entries(own)
        // The same command under another name is described once, and named in the group's list.
        .filter(([, entry]) => !Object.values(commands).includes(entry))
        .map(([name, entry]): [string, Entry] => [`${group} ${name}`, entry]),
    ),
  ];
  const shown = all.filter(([, entry]) => !entry.hidden);
  const sections = await Promise.all(
    shown.map(async ([path, entry]) => commandSection(path, entry.summary, (await entry.load()).default)),
  );
  const grouped = Object.entries(groups).map(([name, group]) => {
    const own = Object.entries(group.commands).filter(([, entry]) => !entry.hidden);
    return `.TP\n.B tare ${name}\n${roff(group.summary)}: ${own.map(([word]) => word).join(', ')}.\n`;
  });
  return [
    `.TH TARE 1 "" "tare ${VERSION}" "User Commands"\n`,
    '.SH NAME\ntare \\- run containers\n',
    '.SH SYNOPSIS\n.B tare\n[OPTIONS] COMMAND [ARG...]\n',
    '.SH DESCRIPTION\n',
    'Tare runs OCI containers. Commands, options, output and exit codes are those of docker. ',
    'A command talks to the daemon (tare serve) when one answers; otherwise it does the work itself, with the same results.\n',
    `.SH OPTIONS\n${optionList(globalOptions)}`,
    `.SH COMMANDS\n${sections.join('')}`,
    `.SH GROUPS\nEach command is also found under what it works on.\n${grouped.join('')}`,
    environment,
    exitCodes,
    files,
  ].join('');
}

const environment = `.SH ENVIRONMENT
.TP
.B TARE_HOST, DOCKER_HOST
The daemon to talk to, as \\-\\-host; the first that is set counts.
.TP
.B XDG_RUNTIME_DIR
Where the daemon's socket is looked for when not run by root.
`;

const exitCodes = `.SH EXIT STATUS
.TP
.B 0
Success.
.TP
.B 1
A command failed.
.TP
.B 125
The command line is wrong, or the engine could not run the container.
.TP
.B 126
The container's command cannot be executed.
.TP
.B 127
The container's command is not there.
.TP
.B other
The exit code of the container's program; 128 plus the signal's number when a signal ended it.
`;

const files = `.SH FILES
.TP
.I /var/lib/tare
Images, volumes and records.
.TP
.I /run/tare
What runs; the daemon's socket tare.sock.
.TP
.I /etc/tare/tare.toml
Configuration of the engine.
`;

function commandSection(path: string, summary: string, definition: Command): string {
  const description = definition.description ? `.PP\n${roff(definition.description)}\n` : '';
  return `.SS tare ${path} ${roff(definition.usage)}\n${roff(summary)}.\n${description}${optionList(definition.options)}`;
}

function optionList(options: Options): string {
  return Object.entries(options)
    .filter(([, option]) => !option.hidden)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, option]) =>
        `.TP\n.B ${roff(flags(name, option).trim())}\n${option.help.split('\n').map(roff).join('\n.br\n')}\n`,
    )
    .join('');
}

/** Text that roff prints as it is: dashes that can be copied, no commands by accident. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1');
}
