/** How bad a vulnerability is, from the least to the worst. */
const severities = ['unknown', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof severities)[number];

const atLeast = (severity: Severity, least: Severity): boolean =>
  severities.indexOf(severity) >= severities.indexOf(least);

export const worst = (all: readonly Severity[]): Severity =>
  all.reduce((a, b) => (atLeast(b, a) ? b : a), 'unknown' as Severity);

/** Words of databases and distributions. */
const words: Record<string, Severity> = {
  negligible: 'low',
  unimportant: 'low',
  none: 'low',
  low: 'low',
  minor: 'low',
  medium: 'medium',
  moderate: 'medium',
  high: 'high',
  important: 'high',
  major: 'high',
  critical: 'critical',
};

export const severityOfWord = (word: unknown): Severity =>
  typeof word === 'string' && Object.hasOwn(words, word.toLowerCase()) ? words[word.toLowerCase()]! : 'unknown';

/** The qualitative scale of CVSS 3 and 4 (specification, "Qualitative Severity Rating Scale"). */
export function severityOfScore(score: number): Severity {
  if (score >= 9) return 'critical';
  if (score >= 7) return 'high';
  return score >= 4 ? 'medium' : 'low';
}

/** Scores CVSS vectors of any version. */
export type ScoreVector = (vector: string) => number | undefined;

/** @returns a function that gives undefined for what is no CVSS vector */
export async function loadScoring(): Promise<ScoreVector> {
  const loaded = await import('ae-cvss-calculator');
  // A CommonJS module: what it exports is the default, whatever its types say.
  const { Cvss2, Cvss3P0, Cvss3P1, Cvss4P0 } = (loaded as unknown as { default: typeof loaded }).default;
  const classes = { 'CVSS:4.0': Cvss4P0, 'CVSS:3.1': Cvss3P1, 'CVSS:3.0': Cvss3P0, '': Cvss2 };
  return (text) => {
    // CVSS 2 has no prefix, and parentheses by some.
    const [, vector, prefix = ''] = /^\(?((?:(CVSS:\d\.\d)\/)?[A-Za-z]+:[A-Za-z:/]+)\)?$/.exec(text) ?? [];
    if (vector === undefined || vector.length > 512 || !Object.hasOwn(classes, prefix)) return undefined;
    try {
      const parsed = new classes[prefix as keyof typeof classes](vector);
      const { base } = parsed.isBaseFullyDefined() ? parsed.calculateScores() : {};
      return base !== undefined && Number.isFinite(base) ? base : undefined;
    } catch {
      // Foreign text that is no vector says nothing.
      return undefined;
    }
  };
}
