import { TareError } from '../errors/index.ts';
import {
  defaultFrom,
  type EgressPolicy,
  type EgressSubject,
  egressPolicyLines,
  egressRuleText,
  type NetworkRecord,
  parseEgressPolicy,
  parseEgressRule,
  refuseUngoverned,
} from '../network/index.ts';
import type { EgressChange, EgressReport, EgressService, EgressTarget } from './egress-types.ts';
import { containerEvent } from './events.ts';
import { rewriteNameFiles } from './live-name-files.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, CreateContainer, EndpointRequest } from './types.ts';

/** The label that a client without a flag for it gives a new container's policy by. */
const LABEL = 'tare.egress';

/** What containers may reach, as users see and change it. */
export function createEgressService(parts: EngineParts): EgressService {
  return {
    report: (target) => report(parts, target),
    change: (target, change) => changeEgress(parts, target, change),
    learned: async (target) => {
      const { policy, namesOnly } = await parts.networks.egress.learned(resolve(parts, target).subject);
      return [...egressPolicyLines(policy), ...namesOnly.map((name) => `# looked up, and not connected to: ${name}`)];
    },
    clear: async (target) => await parts.networks.egress.clear(resolve(parts, target).subject),
  };
}

/**
 * The policy that a container is made with: as its request says, or else the request's label. An image's label is its maker's
 * wish, and not heard.
 *
 * @throws {TareError} InvalidArgument: a rule; Unsupported: packets of one of its networks do not pass our rules
 */
export function egressOf(
  request: CreateContainer,
  networkMode: string,
  networking: readonly EndpointRequest[],
  network: (ref: string) => NetworkRecord,
): EgressPolicy | undefined {
  const label = request.config.labels[LABEL];
  const flags = request.egress ?? [];
  if (label !== undefined && flags.length > 0) {
    throw new TareError('InvalidArgument', `conflicting options: an egress policy and the label ${LABEL}`);
  }
  const texts = label === undefined ? flags : [label];
  if (texts.length === 0) return undefined;
  const policy = parseEgressPolicy(texts);
  if (networkMode.startsWith('container:')) {
    throw new TareError(
      'InvalidArgument',
      'conflicting options: an egress policy and the container type network mode: give it to the container whose network it is',
    );
  }
  for (const { network: ref } of networking) refuseUngoverned(network(ref), 'container');
  return policy;
}

interface Resolved {
  subject: EgressSubject;
  name: string;
  record?: ContainerRecord;
}

function resolve(parts: EngineParts, { kind, ref }: EgressTarget): Resolved {
  if (kind === 'network') {
    const { id, name } = parts.networks.get(ref);
    return { subject: { kind, id }, name };
  }
  const record = parts.store.get(ref);
  return { subject: { kind, id: record.id }, name: record.name, record };
}

async function report(parts: EngineParts, target: EgressTarget): Promise<EgressReport> {
  const { egress } = parts.networks;
  const { subject, name } = resolve(parts, target);
  const policy = egress.find(subject.id);
  const attempts = policy === undefined ? [] : await egress.attempts(subject);
  return {
    ...{ kind: subject.kind, id: subject.id, name },
    rules: policy?.rules.map(egressRuleText) ?? [],
    otherwise: policy?.otherwise ?? '',
    networks: subject.kind === 'network' ? [] : networkPolicies(parts, subject.id),
    open: egress.openNames(subject.id),
    attempts: attempts.map((attempt) => ({
      ...attempt,
      containerName: parts.store.find(attempt.containerId)?.name ?? attempt.containerId.slice(0, 12),
    })),
  };
}

/** Policies of a container's networks, which hold for it as well. */
function networkPolicies(parts: EngineParts, containerId: string): EgressReport['networks'] {
  return parts.networks.endpoints({ containerId }).flatMap(({ networkId }) => {
    const policy = parts.networks.egress.find(networkId);
    if (policy === undefined) return [];
    return [{ name: parts.networks.get(networkId).name, rules: egressPolicyLines(policy) }];
  });
}

async function changeEgress(parts: EngineParts, target: EgressTarget, change: EgressChange): Promise<void> {
  // What cannot be read is refused before anything is looked up, locked or marked.
  const apply = readChange(change);
  const { subject, name, record } = resolve(parts, target);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`${subject.kind}:${subject.id}`);
  if (record !== undefined) refuseShared(parts, parts.store.get(record.id), change);
  await parts.networks.egress.change(
    subject,
    (policy) => apply(policy, name),
    (tx) => {
      const event =
        record === undefined ? networkEvent(parts.networks.get(subject.id)) : containerEvent(record, 'egress');
      tx.event(event);
    },
  );
  // On the default network names are asked of us only by those who are under a policy.
  const concerned =
    record === undefined
      ? parts.networks.endpoints({ networkId: subject.id }).map(({ containerId }) => containerId)
      : [record.id];
  for (const id of concerned) {
    const current = parts.store.find(id);
    if (current !== undefined && isUp(current)) {
      rewriteNameFiles(parts, current, parts.networks.endpoints({ containerId: id }));
    }
  }
}

function refuseShared(parts: EngineParts, record: ContainerRecord, change: EgressChange): void {
  if (change.kind === 'remove') return;
  if (record.host.networkMode.startsWith('container:')) {
    throw new TareError(
      'Conflict',
      `container ${record.name} has the network of ${record.host.networkMode.slice('container:'.length)}: change that one's egress policy`,
    );
  }
  for (const { network } of record.networking) refuseUngoverned(parts.networks.get(network), 'container');
}

type Apply = (policy: EgressPolicy | undefined, name: string) => EgressPolicy | undefined;

/** @throws {TareError} InvalidArgument */
function readChange(change: EgressChange): Apply {
  switch (change.kind) {
    case 'remove':
      return () => undefined;
    case 'set': {
      const policy = parseEgressPolicy(change.rules);
      return () => policy;
    }
    case 'default': {
      const otherwise = defaultFrom(change.otherwise);
      return (policy) => ({ rules: policy?.rules ?? [], otherwise });
    }
    case 'add':
      return adding(change.rules);
    case 'withdraw':
      return withdrawing(change.rules);
  }
}

/** New rules come before the others, so that the last word counts; one of the same destination and ports gives way. */
function adding(texts: readonly string[]): Apply {
  const added = texts.map(parseEgressRule);
  const keys = new Set(added.map(place));
  return (policy, name) => {
    if (policy === undefined && added.some(({ verdict }) => verdict === 'allow')) {
      throw new TareError(
        'Conflict',
        `${name} has no egress policy, so that it reaches everything: begin with tare network egress set or default`,
      );
    }
    const kept = policy?.rules.filter((rule) => !keys.has(place(rule))) ?? [];
    return { rules: [...added, ...kept], otherwise: policy?.otherwise ?? 'allow' };
  };
}

/** A rule without its verdict. */
const place = (rule: EgressPolicy['rules'][number]): string =>
  egressRuleText({ ...rule, verdict: 'deny', mayBePrivate: false });

function withdrawing(texts: readonly string[]): Apply {
  const wanted = texts.map((text) => egressRuleText(parseEgressRule(text)));
  return (policy, name) => {
    const rules = policy?.rules ?? [];
    const missing = wanted.find((text) => !rules.some((rule) => egressRuleText(rule) === text));
    if (policy === undefined || missing !== undefined) {
      throw new TareError('NotFound', `${name} has no egress rule ${JSON.stringify(missing)}`);
    }
    return { ...policy, rules: rules.filter((rule) => !wanted.includes(egressRuleText(rule))) };
  };
}

const networkEvent = ({ id, name, driver }: NetworkRecord) => ({
  ...{ type: 'network', action: 'egress', actorId: id },
  attributes: { name, type: driver },
});
