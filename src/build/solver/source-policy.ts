import { toBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type SourceOp, sourcepolicy } from '../../protocol/index.ts';
import { BoundedPattern, digestOf } from '../../storage/index.ts';
import { type GraphPolicy, noPolicy, type OperationCheck } from './graph.ts';

const { AttrMatch, MatchType, PolicyAction } = sourcepolicy;

/** A source that is converted is looked at anew, but not more often. */
const MAX_CONVERSIONS = 20;
/** Of what a rule makes of an identifier: it may name the whole of it often, and be applied to what it made. */
const MAX_TEMPLATE = 2_000;
const MAX_IDENTIFIER = 16_000;

interface Rule {
  action: sourcepolicy.PolicyAction;
  /** @returns parts of the identifier that the pattern has names or numbers for; undefined: it does not match */
  match(source: SourceOp): Readonly<Record<string, string>> | undefined;
  updates: sourcepolicy.Update | undefined;
}

/**
 * What clients say of the sources of a build: it puts a source into another one's place, or denies it (Forbidden). The rules of a policy
 * are asked in their order and the last one that denies or allows decides; each policy can deny.
 *
 * @throws {TareError} InvalidArgument: a rule that is not understood, which must not be passed over
 */
export function sourcePolicy(policies: readonly sourcepolicy.Policy[] = []): GraphPolicy {
  if (policies.length === 0) return noPolicy;
  const encoded = policies.map((policy) => digestOf(toBinary(sourcepolicy.PolicySchema, policy)));
  return { id: encoded.join(), check: checkOf(policies) };
}

function checkOf(policies: readonly sourcepolicy.Policy[]): OperationCheck {
  const compiled = policies.map(({ rules }) => rules.map(compile));
  return ({ op }) => {
    if (op.case !== 'source') return false;
    const source = op.value;
    for (let round = 0; round < MAX_CONVERSIONS; round += 1) {
      if (!compiled.some((rules) => apply(rules, source))) return round > 0;
    }
    throw new TareError('InvalidArgument', `source policies convert ${JSON.stringify(source.identifier)} without end`);
  };
}

/** @returns whether it changed the source: all is to be asked again */
function apply(rules: readonly Rule[], source: SourceOp): boolean {
  let isDenied = false;
  for (const { action, match, updates } of rules) {
    const parts = match(source);
    if (parts === undefined) continue;
    if (action === PolicyAction.CONVERT && convert(source, updates, parts)) return true;
    if (action !== PolicyAction.CONVERT) isDenied = action === PolicyAction.DENY;
  }
  if (isDenied) throw new TareError('Forbidden', `source denied by policy: ${JSON.stringify(source.identifier)}`);
  return false;
}

function convert(
  source: SourceOp,
  updates: sourcepolicy.Update | undefined,
  parts: Readonly<Record<string, string>>,
): boolean {
  if (updates === undefined)
    throw new TareError(
      'InvalidArgument',
      `a source policy converts ${JSON.stringify(source.identifier)} into nothing`,
    );
  if (updates.identifier.length > MAX_TEMPLATE || source.identifier.length > MAX_IDENTIFIER)
    throw new TareError(
      'InvalidArgument',
      `a source policy converts too long an identifier: want ${MAX_TEMPLATE} bytes`,
    );
  const part = (_: string, braced?: string, plain?: string) => parts[braced ?? plain ?? ''] ?? '';
  const wanted = updates.identifier.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, part) || source.identifier;
  const attributes = Object.entries(updates.attrs).filter(([key, value]) => source.attrs[key] !== value);
  if (wanted === source.identifier && attributes.length === 0) return false;
  source.identifier = wanted;
  for (const [key, value] of attributes) source.attrs[key] = value;
  return true;
}

function compile({ action, selector, updates }: sourcepolicy.Rule): Rule {
  if (selector === undefined) throw new TareError('InvalidArgument', 'a source policy has a rule without a selector');
  if (PolicyAction[action] === undefined)
    throw new TareError('InvalidArgument', `a source policy has the unknown action ${action}`);
  const { identifier, matchType, constraints } = selector;
  const isMet = constraints.map(constraint);
  const pattern = patternOf(identifier, matchType);
  return {
    action,
    updates,
    match: (source) => {
      if (!isMet.every((check) => check(source.attrs))) return undefined;
      if (source.identifier === identifier) return {};
      const found = pattern?.exec(source.identifier);
      return found ? { ...found.groups, ...found } : undefined;
    },
  };
}

/** @returns undefined: only the same identifier matches */
function patternOf(identifier: string, type: sourcepolicy.MatchType): BoundedPattern | undefined {
  if (type === MatchType.EXACT) return undefined;
  if (type === MatchType.REGEX) return expression(identifier);
  if (type === MatchType.WILDCARD) return expression(`^${wildcard(identifier)}$`);
  throw new TareError('InvalidArgument', `a source policy has the unknown match type ${type}`);
}

/** `*` is any run of characters, and a part of its own. */
const wildcard = (text: string): string =>
  text
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('(.*)');

function constraint({ key, value, condition }: sourcepolicy.AttrConstraint) {
  type Check = (attributes: Readonly<Record<string, string>>) => boolean;
  const pattern = condition === AttrMatch.MATCHES ? expression(value) : undefined;
  const checks: Record<number, Check> = {
    [AttrMatch.EQUAL]: (attributes) => (attributes[key] ?? '') === value,
    [AttrMatch.NOTEQUAL]: (attributes) => (attributes[key] ?? '') !== value,
    [AttrMatch.MATCHES]: (attributes) => pattern!.test(attributes[key] ?? ''),
  };
  const check = checks[condition];
  if (check === undefined)
    throw new TareError('InvalidArgument', `a source policy has the unknown condition ${condition}`);
  return check;
}

function expression(text: string): BoundedPattern {
  try {
    return new BoundedPattern(text, 's');
  } catch (error) {
    throw new TareError('InvalidArgument', `invalid source policy selector ${JSON.stringify(text)}`, { cause: error });
  }
}
