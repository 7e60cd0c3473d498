import { Boolean as Flag, Optional, Object as Struct, String as Text } from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { empty, json } from '../responses.ts';
import { route } from '../routing.ts';

const checkpointBody = Struct(
  {
    CheckpointID: Optional(Text()),
    CheckpointDir: Optional(Text()),
    Exit: Optional(Flag()),
    /** Ours: docker has no word for it. */
    TCPEstablished: Optional(Flag()),
  },
  { title: 'CheckpointCreate' },
);

const inDirectory = Struct({ dir: Optional(Text()) });

/** `checkpoint create`, `ls` and `rm`. They stand before the container's own, whose names may have slashes. */
export const checkpointRoutes = [
  route({
    method: 'POST',
    path: '/containers/:id/checkpoints',
    body: checkpointBody,
    async handler({ engine, params, body }) {
      if (!body) throw new TareError('InvalidArgument', 'invalid JSON: got EOF while reading request body');
      await engine.containers.checkpoint(params.id, {
        name: body.CheckpointID ?? '',
        directory: body.CheckpointDir || undefined,
        exit: body.Exit ?? false,
        tcpEstablished: body.TCPEstablished ?? false,
      });
      return empty(201);
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/checkpoints',
    query: inDirectory,
    async handler({ engine, params, query }) {
      const names = await engine.containers.checkpoints(params.id, query.dir || undefined);
      return json(names.map((Name) => ({ Name })));
    },
  }),

  route({
    method: 'DELETE',
    path: '/containers/:id/checkpoints/:name',
    query: inDirectory,
    async handler({ engine, params, query }) {
      await engine.containers.removeCheckpoint(params.id, { name: params.name, directory: query.dir || undefined });
      return empty(204);
    },
  }),
];
