import type { EventRecord } from '../../../engine/index.ts';

/** One line of the event stream, with the fields of before API 1.22 that clients still read. */
export function eventOf(event: EventRecord) {
  const isLegacy = event.type === 'container' || event.type === 'image';
  const from = event.attributes.image;
  return {
    ...(isLegacy && { status: event.action, ...(event.actorId !== '' && { id: event.actorId }) }),
    ...(event.type === 'container' && from !== undefined && { from }),
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.actorId, Attributes: event.attributes },
    scope: 'local',
    time: Number(event.timeNs / 1_000_000_000n),
    // Nanoseconds do not fit into a double.
    timeNano: rawNumber(event.timeNs),
  };
}

const encoder = new TextEncoder();

/** The stream: one event a line. */
export async function* eventLines(events: AsyncIterable<EventRecord>): AsyncGenerator<Uint8Array> {
  for await (const event of events) yield encoder.encode(`${JSON.stringify(eventOf(event))}\n`);
}

/** A number that JSON.stringify writes with all its digits (ES2026's JSON.rawJSON, not yet in TypeScript's library). */
function rawNumber(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value));
}
