/** How bad a vulnerability is, from the least to the worst. */
export const severities = ['unknown', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof severities)[number];

export const atLeast = (severity: Severity, least: Severity): boolean =>
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
  const { CVSS20, CVSS30, CVSS31, CVSS40 } = await import('@pandatix/js-cvss');
  return (vector) => {
    if (vector.length > 512) return undefined;
    try {
      const score = vector.startsWith('CVSS:4.0/')
        ? new CVSS40(vector).Score()
        : vector.startsWith('CVSS:3.1/')
          ? new CVSS31(vector).BaseScore()
          : vector.startsWith('CVSS:3.0/')
            ? new CVSS30(vector).BaseScore()
            : new CVSS20(vector.replace(/^\((.*)\)$/, '$1')).BaseScore();
      return Number.isFinite(score) ? score : undefined;
    } catch {
      // Foreign text that is no vector says nothing.
      return undefined;
    }
  };
}
