import { expect, test } from 'vitest';
import { make, namesOf, runFrontend } from './frontend.fixture.ts';

test('a Dockerfile becomes a graph, names and a config', async () => {
  const made = await make(
    [
      'FROM debian:stable AS build',
      'ARG VERSION=1',
      'WORKDIR /src',
      'COPY . .',
      'RUN make V=$VERSION',
      'FROM scratch',
      'COPY --from=build --chown=app:5 /src/out /bin/',
      'ENTRYPOINT ["/bin/app"]',
      'CMD run it',
    ].join('\n'),
  );
  expect(made.names).toMatchInlineSnapshot(`
    [
      "[build 1/4] FROM docker.io/library/debian:stable@sha256:1111111111111111111111111111111111111111111111111111111111111111",
      "[build 2/4] WORKDIR /src",
      "[internal] load build context",
      "[build 3/4] COPY . .",
      "[build 4/4] RUN make V=1",
      "[stage-1 1/1] COPY --from=build --chown=app:5 /src/out /bin/",
    ]
  `);
  expect(made.config).toMatchInlineSnapshot(`
    {
      "architecture": "amd64",
      "config": {
        "ArgsEscaped": true,
        "Cmd": [
          "/bin/sh",
          "-c",
          "run it",
        ],
        "Entrypoint": [
          "/bin/app",
        ],
        "Env": [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ],
        "WorkingDir": "/",
      },
      "history": [
        {
          "comment": "buildkit.dockerfile.v0",
          "created_by": "COPY --chown=app:5 /src/out /bin/ # buildkit",
        },
        {
          "comment": "buildkit.dockerfile.v0",
          "created_by": "ENTRYPOINT ["/bin/app"]",
          "empty_layer": true,
        },
        {
          "comment": "buildkit.dockerfile.v0",
          "created_by": "CMD ["/bin/sh" "-c" "run it"]",
          "empty_layer": true,
        },
      ],
      "os": "linux",
      "rootfs": {
        "diff_ids": [],
        "type": "layers",
      },
    }
  `);
});

const many = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');
const large = `ENV x=${'x'.repeat(60_000)}\nENV y="${'$x'.repeat(16)}"`;

test.each([
  ['values that others name', `FROM scratch\n${large}\n${many(80, (i) => `ENV v${i}="$y"`)}`],
  ['patterns in long values', `FROM scratch\n${large}\nENV z="${`\${y//x/}`.repeat(20)}"`],
  [
    'arguments before the first stage',
    `${large.replaceAll('ENV', 'ARG')}\n${many(80, (i) => `ARG v${i}="$y"`)}\nFROM $y`,
  ],
  [
    'stages that begin with each other',
    `FROM scratch AS s0\n${many(2_500, () => 'ENV a=1')}
${many(2_500, (i) => `FROM s${i} AS s${i + 1}`)}`,
  ],
  [
    'triggers in as many stages',
    `FROM scratch AS s\n${many(600, () => 'ONBUILD ENV a=1')}
${many(600, (i) => `FROM s AS t${i}`)}\nFROM scratch\n${many(600, (i) => `COPY --from=t${i} /a /b`)}`,
  ],
  [
    'variables of as many commands',
    `FROM scratch\n${many(8, (i) => `ENV ${many(5_000, (j) => `a${i}b${j}=1`)}`.replaceAll('\n', ' '))}
${many(200, () => 'RUN true')}`,
  ],
])('a small file that comes to very much is refused before it does: %s', async (_, dockerfile) => {
  await expect(runFrontend(dockerfile)).rejects.toThrow(/come to more than 67108864 characters/);
});

test('passwords of addresses are in no name of a step, and in no error', async () => {
  const address = 'https://user:secret@example.com/a.git';
  const copying = 'FROM debian:stable\nCOPY --from=repo /a /\nCOPY --from=file /b /\n';
  const options = {
    context: address,
    'context:repo': address,
    'context:file': 'https://user:secret@example.com/file',
  };
  const { run, names } = await make(copying, { options });
  const all = [
    ...run.solved.flatMap(({ definition }) => (definition === undefined ? [] : namesOf(definition))),
    ...names,
  ];
  expect(all).toContain('[internal] load git source https://user:xxxxx@example.com/a.git');
  expect(all).toContain('[context repo] https://user:xxxxx@example.com/a.git');
  expect(all).toContain('[context file] https://user:xxxxx@example.com/file');
  expect(all.join()).not.toContain('secret');
  const refused = runFrontend(copying, { options: { context: `${address}?wrong=1` } });
  await expect(refused).rejects.toThrow('git address https://user:xxxxx@example.com/a.git?wrong=1: unexpected query');
});
