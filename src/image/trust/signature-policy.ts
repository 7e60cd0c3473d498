import { TareError } from '../../errors/index.ts';
import { canonical } from '../reference.ts';
import { type Accepted, evaluate, type TrustSubject } from './evaluate.ts';
import { parsePolicy } from './policy-document.ts';
import { type Applicable, type ImageOrigin, requirementsFor, scopedRequirements } from './policy-scope.ts';
import type { PolicyDocument, Requirement } from './requirement.ts';
import type { FoundSignature } from './signature.ts';

export interface PolicySubject extends TrustSubject {
  origin: ImageOrigin;
}

const MAX_REASONS = 5;

/** An image does not pass. */
export class PolicyRefusal extends TareError {
  /** The type of the requirement that does not hold. */
  readonly requirement: Requirement['type'];
  constructor(message: string, requirement: Requirement['type'], options?: ErrorOptions) {
    super('Forbidden', message, options);
    this.requirement = requirement;
  }
}

/** A policy in force: which images may be stored and run, and who must have signed them. */
export class SignaturePolicy {
  /** For messages. */
  readonly file: string;
  readonly document: PolicyDocument;

  constructor(document: PolicyDocument, file: string) {
    this.document = document;
    this.file = file;
  }

  /** @throws {TareError} InvalidArgument: the field and what would be right */
  static parse(bytes: Uint8Array, file: string): SignaturePolicy {
    return new SignaturePolicy(parsePolicy(bytes, `signature policy ${file}`), file);
  }

  /** What applies to an image from there. */
  applicable(origin: ImageOrigin): Applicable {
    return requirementsFor(this.document, origin);
  }

  /** What the transport's own scopes ask; undefined: none matches. */
  scoped(origin: ImageOrigin): Applicable | undefined {
    return scopedRequirements(this.document, origin);
  }

  /** Whether everything from there is accepted, so that nobody needs to look at it. */
  acceptsAnything(origin: ImageOrigin): boolean {
    return this.applicable(origin).requirements.every(({ type }) => type === 'insecureAcceptAnything');
  }

  /**
   * Lets an image pass or throws.
   *
   * @returns the signatures by which it passed
   * @throws {PolicyRefusal} Forbidden: the scope, the requirement, and why it does not hold; else what the policy's key files
   *   have wrong
   */
  async require(subject: PolicySubject): Promise<Accepted[]> {
    return await this.requireAll(subject, this.applicable(subject.origin));
  }

  /** The same for requirements that were looked up. */
  async requireAll(subject: PolicySubject, { scope, requirements }: Applicable): Promise<Accepted[]> {
    let fetched: Promise<readonly FoundSignature[]> | undefined;
    const signatures = () => {
      fetched ??= subject.signatures();
      return fetched;
    };
    const passedBy: Accepted[] = [];
    for (const requirement of requirements) {
      const outcome = await evaluate(requirement, subject, signatures);
      if (!outcome.holds) throw this.#refusal(subject, scope, requirement.type, outcome.reasons);
      if (outcome.by !== undefined) passedBy.push(outcome.by);
    }
    return passedBy;
  }

  #refusal(
    { origin }: PolicySubject,
    scope: string,
    requirement: Requirement['type'],
    reasons: readonly string[],
  ): PolicyRefusal {
    const { reference, path, transport } = origin;
    const name = reference === undefined ? (path ?? `from ${transport}`) : canonical(reference);
    const shown = reasons.slice(0, MAX_REASONS).join('; ');
    const more = reasons.length > MAX_REASONS ? `; and ${reasons.length - MAX_REASONS} more` : '';
    return new PolicyRefusal(
      `image ${name} is refused by the signature policy ${this.file}, scope ${scope}: ${requirement}: ${shown}${more}`,
      requirement,
    );
  }
}
