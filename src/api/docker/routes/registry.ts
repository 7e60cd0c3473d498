import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { progressOf } from '../from-engine/image.ts';
import { json, lines } from '../responses.ts';
import { route } from '../routing.ts';
import { parseFilters } from '../schema/filters.ts';
import { credentialsOf, registryAuth, registryDomain } from '../schema/registry-auth.ts';
import { begin } from '../stream/begin.ts';
import { mapped, platformOf, withTag } from './images.ts';

export const registryRoutes = [
  route({
    method: 'POST',
    path: '/images/:name*/push',
    query: T.Object({ tag: T.String(), platform: T.Optional(T.String()) }),
    async handler({ engine, params, query, request, version }) {
      const progress = engine.images.push(withTag(params.name, query.tag), {
        credentials: registryAuth(request.headers['x-registry-auth']),
        platform: version >= 46 ? platformOf(query.platform) : undefined,
        allTags: query.tag === '',
        signal: request.signal,
      });
      return lines(mapped(await begin(progress), progressOf));
    },
  }),

  route({
    method: 'GET',
    path: '/images/search',
    query: T.Object({ term: T.String(), limit: T.Integer(), filters: T.String() }),
    async handler({ engine, query, request }) {
      const found = await engine.images.search(query.term, {
        credentials: registryAuth(request.headers['x-registry-auth']),
        limit: query.limit,
        filters: parseFilters(query.filters, ['is-automated', 'is-official', 'stars']),
        signal: request.signal,
      });
      return json(
        found.map(({ name, description, stars, isOfficial, isAutomated }) => ({
          ...{ star_count: stars, is_official: isOfficial, name, is_automated: isAutomated, description },
        })),
      );
    },
  }),

  route({
    method: 'GET',
    path: '/distribution/:name*/json',
    async handler({ engine, params, request }) {
      if (/^(sha256:)?[0-9a-f]{64}$/.test(params.name)) {
        throw new TareError('InvalidArgument', `unknown image name: ${params.name}: want the name of a repository`);
      }
      const { descriptor, platforms } = await engine.images.distribution(params.name, {
        credentials: registryAuth(request.headers['x-registry-auth']),
        signal: request.signal,
      });
      return json({ Descriptor: descriptor, Platforms: platforms });
    },
  }),

  route({
    method: 'POST',
    path: '/auth',
    body: T.Object({
      username: T.Optional(T.String()),
      password: T.Optional(T.String()),
      auth: T.Optional(T.String()),
      serveraddress: T.Optional(T.String()),
      identitytoken: T.Optional(T.String()),
      registrytoken: T.Optional(T.String()),
    }),
    async handler({ engine, body, request }) {
      const domain = registryDomain(body?.serveraddress ?? '');
      const { identityToken } = await engine.images.authenticate(domain, {
        credentials: credentialsOf(body ?? null),
        signal: request.signal,
      });
      return json({ Status: 'Login Succeeded', IdentityToken: identityToken ?? '' });
    },
  }),
];
