import * as T from 'typebox';
import type { EgressChange, EgressReport, EgressTarget } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { empty, json } from '../responses.ts';
import { route } from '../routing.ts';
import { egressBody } from '../schema/egress.ts';

/** Routes that Docker's API has not: what a container, or all on a network, may reach. */
export const egressRoutes = (['container', 'network'] as const).flatMap((kind) => {
  const path = `/tare/${kind}s/:id/egress`;
  const target = (ref: string): EgressTarget => ({ kind, ref });
  return [
    route({
      method: 'GET',
      path,
      async handler({ engine, params }) {
        return json(egressOf(await engine.egress.report(target(params.id))));
      },
    }),

    route({
      method: 'POST',
      path,
      body: egressBody,
      async handler({ engine, params, body }) {
        if (body === undefined) throw new TareError('InvalidArgument', 'no change of the egress policy named');
        await engine.egress.change(target(params.id), toChange(body));
        return empty(204);
      },
    }),

    route({
      method: 'DELETE',
      path,
      async handler({ engine, params }) {
        await engine.egress.change(target(params.id), { kind: 'remove' });
        return empty(204);
      },
    }),

    route({
      method: 'GET',
      path: `${path}/learned`,
      async handler({ engine, params }) {
        return json({ Rules: await engine.egress.learned(target(params.id)) });
      },
    }),

    route({
      method: 'DELETE',
      path: `${path}/attempts`,
      query: T.Object({}),
      async handler({ engine, params }) {
        await engine.egress.clear(target(params.id));
        return empty(204);
      },
    }),
  ];
});

/** @throws {TareError} InvalidArgument: none, or several at once */
function toChange({ Set: set, Add, Withdraw, Default }: T.Static<typeof egressBody>): EgressChange {
  const changes: EgressChange[] = [
    ...(set === undefined ? [] : [{ kind: 'set' as const, rules: set }]),
    ...(Add === undefined ? [] : [{ kind: 'add' as const, rules: Add }]),
    ...(Withdraw === undefined ? [] : [{ kind: 'withdraw' as const, rules: Withdraw }]),
    ...(Default === undefined ? [] : [{ kind: 'default' as const, otherwise: Default }]),
  ];
  const [only, ...more] = changes;
  if (only !== undefined && more.length === 0) return only;
  throw new TareError('InvalidArgument', 'one change of an egress policy at a time: Set, Add, Withdraw or Default');
}

function egressOf({ kind, id, name, rules, otherwise, networks, open, attempts }: EgressReport) {
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    Kind: kind,
    Id: id,
    Name: name,
    Rules: rules,
    Default: otherwise,
    Networks: networks.map((network) => ({ Name: network.name, Rules: network.rules })),
    Open: open.map((one) => ({ Name: one.name, Address: one.address, Until: time(one.expiresMs) })),
    Attempts: attempts.map((attempt) => ({
      ...{ Denied: attempt.isDenied, Container: attempt.containerName, ContainerId: attempt.containerId },
      ...{ Destination: attempt.destination, Protocol: attempt.protocol, Port: attempt.port, Count: attempt.count },
      ...{ First: time(attempt.firstMs), Last: time(attempt.lastMs) },
    })),
  };
}
