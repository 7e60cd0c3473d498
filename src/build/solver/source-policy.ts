import { TareError } from '../../errors/index.ts';
import type { Op } from '../../protocol/index.ts';
import type { SourcePolicyRule } from '../build-types.ts';

const MAX_CONVERSIONS = 10;

/**
 * Applies a client's rules to a source: a rule that converts is followed by another round, a denial decides unless a later rule allows.
 * @throws {TareError} Forbidden: it is denied
 */
export function applySourcePolicy(rules: readonly SourcePolicyRule[], op: Op): void {
  if (op.op.case !== 'source' || rules.length === 0) return;
  const source = op.op.value;
  for (let round = 0; round < MAX_CONVERSIONS; round += 1) {
    const decision = decide(rules, source.identifier, source.attrs);
    if (decision === 'allow') return;
    if (decision === 'deny')
      throw new TareError('Forbidden', `source ${JSON.stringify(source.identifier)} denied by policy`);
    if (
      decision.identifier === source.identifier &&
      !Object.keys(decision.attributes).some((key) => source.attrs[key] !== decision.attributes[key])
    )
      return;
    source.identifier = decision.identifier;
    Object.assign(source.attrs, decision.attributes);
  }
  throw new TareError('InvalidArgument', `source policies convert ${JSON.stringify(source.identifier)} without end`);
}

function decide(
  rules: readonly SourcePolicyRule[],
  identifier: string,
  attributes: Readonly<Record<string, string>>,
): 'allow' | 'deny' | { identifier: string; attributes: Readonly<Record<string, string>> } {
  let isDenied = false;
  for (const rule of rules) {
    const match = matcherOf(rule)(identifier);
    if (match === undefined || !rule.constraints.every((constraint) => isMet(constraint, attributes))) continue;
    if (rule.action === 'allow') isDenied = false;
    else if (rule.action === 'deny') isDenied = true;
    else if (rule.updates !== undefined) {
      const wanted = rule.updates.identifier || identifier;
      const converted = wanted.replaceAll(/\$\{?(\d+)\}?/g, (_, group: string) => match[Number(group)] ?? '');
      if (
        converted !== identifier ||
        Object.entries(rule.updates.attributes).some(([key, value]) => attributes[key] !== value)
      ) {
        return { identifier: converted, attributes: rule.updates.attributes };
      }
    }
  }
  return isDenied ? 'deny' : 'allow';
}

/** @returns the parts of the identifier that stand for the pattern's, the whole first */
function matcherOf({ match, selector }: SourcePolicyRule): (identifier: string) => readonly string[] | undefined {
  if (match === 'exact') return (identifier) => (identifier === selector ? [identifier] : undefined);
  const text = match === 'regex' ? selector : `^${wildcard(selector)}$`;
  const pattern = expression(text);
  return (identifier) => pattern.exec(identifier) ?? undefined;
}

/** `*` is any run of characters, and a part of its own. */
const wildcard = (selector: string): string =>
  selector
    .split('*')
    .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('(.*)');

function expression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new TareError('InvalidArgument', `invalid source policy selector ${JSON.stringify(text)}`, { cause: error });
  }
}

function isMet(
  { key, value, condition }: SourcePolicyRule['constraints'][number],
  attributes: Readonly<Record<string, string>>,
): boolean {
  const given = attributes[key] ?? '';
  if (condition === 'equal') return given === value;
  if (condition === 'notequal') return given !== value;
  return expression(value).test(given);
}
