/**
 * The target of `rel="next"`, as it is written.
 * @see RFC 8288, 3; distribution-spec, "Listing Tags"
 */
export function nextLink(header: string | undefined): string | undefined {
  if (header === undefined || header.length > 16_384) return undefined;
  const links = header.matchAll(
    /<([^<>]*)>((?:\s*;\s*[\w*!#$&+.^`|~-]+\s*(?:=\s*(?:"(?:[^"\\]|\\.)*"|[^\s",;]+))?)*)/g,
  );
  for (const [, target, parameters] of links) {
    const rel = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))/i.exec(parameters!);
    const relations = (rel?.[1] ?? rel?.[2] ?? '').toLowerCase().split(/\s+/);
    if (relations.includes('next')) return target;
  }
  return undefined;
}

/**
 * How long `Retry-After` asks to wait.
 * @param now milliseconds of the epoch
 * @returns milliseconds, 0 for a time that is over; undefined: no header, or one that makes no sense
 * @see RFC 9110, 10.2.3
 */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  const text = header?.trim();
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // Date.parse would take "1.5" for a day in January.
  const at = /[A-Za-z]{3}/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** A part of a representation: `start` and `end` inclusive; `sizeBytes` undefined: the sender does not know. */
export interface ContentRange {
  start: number;
  end: number;
  sizeBytes: number | undefined;
}

/** `bytes 5-9/10`. @see RFC 9110, 14.4 */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const match = /^bytes\s+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [start, end] = [Number(match[1]), Number(match[2])];
  const sizeBytes = match[3] === '*' ? undefined : Number(match[3]);
  if (end < start || (sizeBytes !== undefined && end >= sizeBytes)) return undefined;
  return { start, end, sizeBytes };
}

/**
 * Bytes that an upload has, from its `Range: 0-N`, with or without `bytes=`.
 * @returns undefined: no header, or one that makes no sense. `0-0` is taken as nothing: registries write it for an empty upload.
 * @see distribution-spec, "Pushing a blob in chunks"
 */
export function uploadedBytes(header: string | undefined): number | undefined {
  const match = /^(?:bytes[= ])?0-(\d{1,15})$/.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const last = Number(match[1]);
  return last === 0 ? 0 : last + 1;
}

/** A length as `Content-Length` says it. */
export function lengthOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}
