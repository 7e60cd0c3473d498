import type { Duplex } from 'node:stream';
import * as T from 'typebox';
import type { AttachSession, ExecRecord } from '../../../engine/index.ts';
import { messageOf, TareError } from '../../../errors/index.ts';
import { execInspectOf } from '../from-engine/exec.ts';
import { empty, json } from '../responses.ts';
import { route } from '../routing.ts';
import { execCreateBody, execStartBody } from '../schema/container.ts';
import { pumpSession } from '../stream/session.ts';
import { takeOver } from '../stream/take-over.ts';

export const execRoutes = [
  route({
    method: 'POST',
    path: '/containers/:id/exec',
    body: execCreateBody,
    async handler({ engine, params, body, version }) {
      if (!body || body.Cmd.length === 0) throw new TareError('InvalidArgument', 'No exec command specified');
      const id = await engine.execs.create(params.id, {
        tty: body.Tty,
        attachStdin: body.AttachStdin,
        attachStdout: body.AttachStdout,
        attachStderr: body.AttachStderr,
        detachKeys: body.DetachKeys,
        command: body.Cmd,
        env: body.Env,
        workingDir: body.WorkingDir,
        user: body.User,
        privileged: body.Privileged,
        consoleSize: version < 42 ? undefined : body.ConsoleSize,
      });
      return json({ Id: id }, 201);
    },
  }),

  route({
    method: 'POST',
    path: '/exec/:id/start',
    hijack: true,
    body: execStartBody,
    async handler({ engine, params, body, request, version }) {
      const detach = body?.Detach ?? false;
      const exec = await engine.execs.inspect(params.id);
      // What the start says decides about frames, whatever the exec was created with: older clients leave it out of the start.
      const multiplex = body?.Tty !== true;
      const start = () =>
        engine.execs.start(exec.id, {
          detach,
          tty: body?.Tty,
          ...(version >= 42 && body?.Tty && { consoleSize: body.ConsoleSize }),
        });
      if (detach) {
        await start();
        return empty(200);
      }
      await engine.execs.requireStartable(exec.id);
      // The answer leaves before the program runs: docker-py drops output that comes together with it.
      return takeOver(request, { multiplex, version }, async (duplex: Duplex) => {
        // From here on the exec's exit code, 126 or 127, tells of a failure, and the text goes where the program's would have gone.
        const session = await start().catch((error: unknown) => failedSession(exec, messageOf(error)));
        if (session === undefined) duplex.end();
        else await pumpSession(session, duplex, { stdin: exec.config.attachStdin, multiplex });
      });
    },
  }),

  route({
    method: 'POST',
    path: '/exec/:id/resize',
    query: T.Object({ h: T.Integer(), w: T.Integer() }),
    async handler({ engine, params, query }) {
      await engine.execs.resize(params.id, query.h, query.w);
      return empty(200);
    },
  }),

  route({
    method: 'GET',
    path: '/exec/:id/json',
    async handler({ engine, params }) {
      return json(execInspectOf(await engine.execs.inspect(params.id)));
    },
  }),
];

function failedSession(exec: ExecRecord, message: string): AttachSession {
  return {
    tty: exec.config.tty,
    output: (async function* () {
      yield { stream: 'stdout' as const, chunk: new TextEncoder().encode(`${message}\r\n`) };
    })(),
    write: async () => {},
    closeStdin: () => {},
    async [Symbol.asyncDispose]() {},
  };
}
