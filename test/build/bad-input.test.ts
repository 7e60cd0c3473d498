import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withEngine } from '../support/faces.ts';

interface BadInput {
  say: string;
  dockerfile: string;
  options?: string[];
  /** Where, as the report's head has it: line, or line and column. */
  at: string | undefined;
  message: RegExp;
}

const base = 'FROM busybox:test\n';
const zeros = '0'.repeat(64);

const cases: BadInput[] = [
  { say: 'an empty file', dockerfile: '', at: undefined, message: /the Dockerfile cannot be empty/ },
  { say: 'no stage', dockerfile: 'RUN true\n', at: '1', message: /want FROM before RUN/ },
  {
    say: 'an unknown instruction',
    dockerfile: `${base}  RUNN true\n`,
    at: '2:3',
    message: /unknown instruction: RUNN \(did you mean RUN\?\)/,
  },
  {
    say: 'an unknown flag',
    dockerfile: `${base}COPY --chwon=1 a b\n`,
    at: '2:6',
    message: /unknown flag: --chwon \(did you mean chown\?\)/,
  },
  {
    say: 'a missing argument',
    dockerfile: `${base}COPY a\n`,
    at: '2',
    message: /COPY requires at least two arguments/,
  },
  {
    say: 'a here-document without an end',
    dockerfile: `${base}RUN <<EOF\necho\n`,
    at: '2:5',
    message: /unterminated heredoc: no line "EOF" follows/,
  },
  { say: 'an open quote', dockerfile: `${base}ENV A="b\n`, at: '2:7', message: /looking for matching double-quote/ },
  {
    say: 'a missing file',
    dockerfile: `${base}RUN true\nCOPY \\\n  nothing /\n`,
    at: '4:3',
    message: /"\/nothing": not found/,
  },
  {
    say: 'a path that is no folder’s',
    dockerfile: `${base}COPY --parents d/./e/g /z/\n`,
    at: '2',
    message: /"\/d\/e\/g": not found/,
  },
  {
    say: 'a cycle of stages',
    dockerfile: 'FROM b AS a\nCOPY --from=b /x /\nFROM a AS b\n',
    at: '3:6',
    message: /circular dependency detected on stage: a/,
  },
  {
    say: 'a later stage',
    dockerfile: `${base}COPY --from=two / /\n${base.trim()} AS two\n`,
    options: ['--target', '0'],
    at: '2:13',
    message: /cannot copy from stage "two", it needs to be defined before/,
  },
  {
    say: 'a stage by a number',
    dockerfile: `${base}COPY --from=5 / /\n`,
    at: '2',
    message: /invalid stage index 5: there are 1 stages/,
  },
  {
    say: 'a target',
    dockerfile: 'FROM busybox:test AS one\n',
    options: ['--target', 'oen'],
    at: undefined,
    message: /target stage "oen" could not be found \(did you mean one\?\)/,
  },
  {
    say: 'a missing secret',
    dockerfile: `${base}RUN --mount=type=secret,id=token,required=true cat /run/secrets/it\n`,
    at: '2:28',
    message: /secret token: not found: give it to the build with --secret id=token,src=FILE/,
  },
  {
    say: 'a missing agent',
    dockerfile: `${base}RUN --mount=type=ssh,required=true true\n`,
    at: '2',
    message: /no SSH key "default" forwarded from the client: build with --ssh default/,
  },
  {
    say: 'a type of mount',
    dockerfile: `${base}RUN --mount=type=cach,target=/x true\n`,
    at: '2:18',
    message: /unsupported mount type "cach" \(did you mean cache\?\)/,
  },
  {
    say: 'a key of a mount',
    dockerfile: `${base}RUN --mount=type=cache,tarrget=/x true\n`,
    at: '2:24',
    message: /unexpected key 'tarrget' in 'tarrget=\/x' \(did you mean target\?\)/,
  },
  {
    say: 'a platform',
    dockerfile: 'FROM --platform=a/b/c/d busybox:test\n',
    at: '1:17',
    message: /"a\/b\/c\/d" is an invalid OS or architecture: want os\/architecture\[\/variant\]/,
  },
  {
    say: 'a platform that is asked for',
    dockerfile: base,
    options: ['--platform', 'li nux'],
    at: undefined,
    message: /"li nux" is an invalid OS or architecture: want os\/architecture/,
  },
  {
    say: 'a checksum that is none',
    dockerfile: `${base}ADD --checksum=sha256:0 http://127.0.0.1:1/x /\n`,
    at: '2:16',
    message: /invalid checksum "sha256:0": want sha256: and 64 lower-case hex digits/,
  },
  {
    say: 'a checksum of what is not fetched',
    dockerfile: `${base}ADD --checksum=sha256:${zeros} Dockerfile /\n`,
    at: '2',
    message: /checksum requires HTTP\(S\) or Git sources/,
  },
  {
    say: 'an address that nobody answers',
    dockerfile: `${base}ADD http://127.0.0.1:1/x /\n`,
    at: '2',
    message: /127\.0\.0\.1:1\/x: connect ECONNREFUSED/,
  },
  {
    say: 'an image',
    dockerfile: 'FROM localhost:1/nothing:x\n',
    at: '1:6',
    message: /localhost:1\/nothing:x: .*connection refused/,
  },
  {
    say: 'a name of an image',
    dockerfile: 'FROM BusyBox:test\n',
    at: '1:6',
    message: /repository name \(library\/BusyBox\) must be lowercase/,
  },
  {
    say: 'a network',
    dockerfile: `${base}RUN --network=hots true\n`,
    at: '2:5',
    message: /\(did you mean host\?\): want default, none, host/,
  },
  {
    say: 'what the build was not allowed',
    dockerfile: `${base}RUN --network=host true\n`,
    at: '2',
    message: /network\.host is not allowed: build with --allow network\.host/,
  },
  { say: 'a port', dockerfile: `${base}EXPOSE abc\n`, at: '2:8', message: /invalid containerPort: abc/ },
  {
    say: 'a signal',
    dockerfile: `${base}STOPSIGNAL SIGNOPE\n`,
    at: '2:12',
    message: /invalid signal: SIGNOPE: want a name such as SIGTERM/,
  },
  {
    say: 'a user',
    dockerfile: 'FROM scratch\nCOPY --chown=nobodyatall Dockerfile /\n',
    at: '2:14',
    message: /there are no users where nothing is yet: use the number of "nobodyatall"/,
  },
  {
    say: 'a mode',
    dockerfile: `${base}COPY --chmod=99x Dockerfile /\n`,
    at: '2:14',
    message: /invalid chmod parameter: '99x'. it should be octal/,
  },
  {
    say: 'a check option',
    dockerfile: `# check=error=maybe\n${base}`,
    at: '1:9',
    message: /failed to parse check option "error=maybe": "maybe" is no boolean/,
  },
  {
    say: 'a Dockerfile that is not there',
    dockerfile: base,
    options: ['-f', 'Dockerfil'],
    at: undefined,
    message: /open Dockerfil: no such file or directory/,
  },
];

describe('bad input of tare build', () => {
  const engine = withEngine({ face: 'in-process' });
  let folders = 0;

  test.concurrent.each(cases)('$say', async ({ dockerfile, options = [], at, message }) => {
    folders += 1;
    const folder = join(engine().root, `context${folders}`);
    mkdirSync(join(folder, 'd/e'), { recursive: true });
    writeFileSync(join(folder, 'd/e/f'), '');
    writeFileSync(join(folder, 'Dockerfile'), dockerfile);
    const { stderr } = await engine().cli(['build', '--quiet', ...options, folder], { expect: 1 });
    expect(/^Dockerfile:([\d:]+)\n-{20}\n/m.exec(stderr)?.[1]).toBe(at);
    expect(stderr).toMatch(message);
  });

  test('what stands behind a pivot is copied with its folders, and no more', async () => {
    const folder = join(engine().root, 'pivot');
    mkdirSync(join(folder, 'd/e'), { recursive: true });
    writeFileSync(join(folder, 'd/e/f'), '');
    const file = `${base}COPY --parents d/./e/f /z/\nRUN test -e /z/e/f && test ! -e /z/d\n`;
    writeFileSync(join(folder, 'Dockerfile'), file);
    await engine().cli(['build', '--quiet', folder]);
  });
});
