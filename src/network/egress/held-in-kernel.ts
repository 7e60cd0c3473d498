import { type Nftables, NftablesError, type NftablesState } from '../../linux/index.ts';
import { type HeldAttempt, heldAttempts } from './held-attempts.ts';
import type { EgressSubject } from './records.ts';
import { type HeldKind, heldSet } from './rules.ts';

type Family = 'inet' | 'bridge';
const families: readonly Family[] = ['inet', 'bridge'];

/** What the kernel's sets have of policies' attempts until somebody has written them down. */
export class HeldInKernel {
  readonly #state: NftablesState;
  readonly #nftables: () => Nftables;
  readonly #tables: Readonly<Record<Family, string>>;

  constructor(state: NftablesState, nftables: () => Nftables, tables: Readonly<Record<Family, string>>) {
    this.#state = state;
    this.#nftables = nftables;
    this.#tables = tables;
  }

  /** Of one policy; none when the rules were flushed. */
  attempts(subject: EgressSubject, kind: HeldKind): HeldAttempt[] {
    return setsOf(subject, [kind]).flatMap((set) =>
      families.flatMap((family) => this.#list(`${family} ${this.#tables[family]} ${set}`, kind === 'denied')),
    );
  }

  /** Forgets those of a policy. */
  drop(subject: EgressSubject): void {
    const held = setsOf(subject, ['denied', 'learned']);
    const commands = families.flatMap((family) =>
      this.#state
        .setNames(family, this.#tables[family])
        .filter((name) => held.includes(name))
        .map((name) => `flush set ${family} ${this.#tables[family]} ${name}\n`),
    );
    if (commands.length > 0) this.#nftables().run(commands.join(''));
  }

  #list(set: string, isDenied: boolean): HeldAttempt[] {
    let listed: unknown;
    try {
      listed = this.#nftables().list(`list set ${set}`);
    } catch (error) {
      if (error instanceof NftablesError) return [];
      throw error;
    }
    return heldAttempts(listed, isDenied);
  }
}

const setsOf = (subject: EgressSubject, kinds: readonly HeldKind[]): string[] =>
  kinds.flatMap((kind) =>
    ([4, 6] as const).flatMap((family) => [true, false].map((hasPorts) => heldSet(subject, kind, family, hasPorts))),
  );
