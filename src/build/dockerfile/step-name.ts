import { formatPlatform, normalized, parsePlatform } from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';
import type { StageBuild } from './stage.ts';

/**
 * How progress shows a step: `[build 2/5] RUN make`. Counts the step.
 *
 * @param showsPlatform the build is for several
 */
export function stepName(stage: StageBuild, text: string, showsPlatform: boolean, platform: Platform): string {
  if (stage.commandCount === 0) return text;
  stage.commandIndex += 1;
  return prefixed(stage, text, showsPlatform, platform);
}

/** The same name again, for what belongs to a step that is counted already. */
export function prefixed(stage: StageBuild, text: string, showsPlatform: boolean, platform: Platform): string {
  if (stage.commandCount === 0) return text;
  const parts: string[] = [];
  if (showsPlatform) parts.push(`${formatPlatform(platform)}${crossTarget(platform, stage.env)}`);
  if (stage.label !== '') parts.push(stage.label);
  const width = String(stage.commandCount).length;
  parts.push(`${String(stage.commandIndex).padStart(width)}/${stage.commandCount}`);
  return `[${parts.join(' ')}] ${stage.isInTrigger ? 'ONBUILD ' : ''}${text}`;
}

/** `->arm64` where a stage runs on one platform to make something for another. */
function crossTarget(platform: Platform, env: ReadonlyMap<string, string>): string {
  const target = targetOf(platform, env);
  if (target === undefined || (target.os === platform.os && target.architecture === platform.architecture)) return '';
  if (target.os !== platform.os) return `->${formatPlatform(target)}`;
  return `->${target.architecture}${target.variant === undefined ? '' : `/${target.variant}`}`;
}

function targetOf(platform: Platform, env: ReadonlyMap<string, string>): Platform | undefined {
  const whole = env.get('TARGETPLATFORM');
  if (whole !== undefined) {
    try {
      return normalized(parsePlatform(whole));
    } catch {
      // Not a platform: its parts may be.
    }
  }
  const [os, architecture, variant] = ['TARGETOS', 'TARGETARCH', 'TARGETVARIANT'].map(
    (key) => env.get(key) || undefined,
  );
  if (os === undefined && architecture === undefined && variant === undefined) return undefined;
  return normalized({
    os: os ?? platform.os,
    architecture: architecture ?? platform.architecture,
    ...(variant === undefined ? {} : { variant }),
  });
}

/** The first word in capitals. */
export const withUpperKeyword = (text: string): string => text.replace(/^[^ ]+/, (word) => word.toUpperCase());
