import * as T from 'typebox';
import { json } from '../responses.ts';
import { route } from '../routing.ts';
import { createBody } from '../schema/container.ts';
import { toContainerConfig } from '../to-engine/container-config.ts';

export const commitRoutes = [
  route({
    method: 'POST',
    path: '/commit',
    query: T.Object({
      container: T.String(),
      repo: T.String(),
      tag: T.String(),
      comment: T.String(),
      author: T.String(),
      pause: T.Optional(T.Boolean()),
      changes: T.Array(T.String()),
    }),
    // Docker reads the host's half as well, and ignores it.
    body: createBody,
    async handler({ engine, query, body }) {
      const { container, repo, tag, comment, author, pause, changes } = query;
      const id = await engine.containers.commit(container, {
        ...(repo !== '' && { reference: tag === '' ? repo : `${repo}:${tag}` }),
        ...(pause !== undefined && { pause }),
        ...(body && { config: toContainerConfig(body) }),
        ...{ comment, author, changes },
      });
      return json({ Id: id }, 201);
    },
  }),
];
