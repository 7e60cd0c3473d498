import { expect, test } from 'vitest';
import { make } from './frontend.fixture.ts';

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
