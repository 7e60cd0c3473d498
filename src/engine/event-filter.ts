import { familiarName, parseReference } from '../image/index.ts';
import { hasLabel, refuseUnknownFilters } from './filters.ts';
import type { EventRecord, Filters } from './types.ts';

/** Filters that name an object, by its id or name. Docker looks for no type with them, and a beginning is enough. */
const objects = ['config', 'container', 'daemon', 'network', 'node', 'plugin', 'secret', 'service', 'volume'];
const known = [...objects, 'event', 'image', 'label', 'scope', 'type'];

/** Actions whose text goes on behind a colon; asked for without one, each filter of actions means beginnings. */
const open = ['health_status', 'exec_create', 'exec_start'];

/**
 * docker's filters of events: an event must satisfy each key, by one of its values; `label` by all of them.
 *
 * @throws {TareError} InvalidArgument: a key that docker does not have
 */
export function eventFilter(filters: Filters): (event: EventRecord) => boolean {
  refuseUnknownFilters(filters, known);
  const tests: ((event: EventRecord) => boolean)[] = [];
  const add = (key: string, test: (event: EventRecord, value: string) => boolean) => {
    const values = filters[key] ?? [];
    if (values.length > 0) tests.push((event) => values.some((value) => test(event, value)));
  };
  const byBeginning = filters['event']?.some((value) => open.includes(value)) === true;
  add('event', ({ action }, value) => action === value || (byBeginning && action.startsWith(value)));
  add('type', ({ type }, value) => type === value);
  add('scope', (_, value) => value === 'local');
  for (const key of objects) {
    add(key, ({ actorId, attributes }, value) =>
      [actorId, attributes['name'] ?? ''].some((id) => id.startsWith(value)),
    );
  }
  add('image', (event, value) => imageNames(event).includes(value));
  const labels = filters['label'] ?? [];
  if (labels.length > 0) tests.push(({ attributes }) => labels.every((label) => hasLabel(attributes, label)));
  return (event) => tests.every((test) => test(event));
}

/** What an image is called in an event about it or about a container of it, with its tag and without. */
function imageNames({ type, actorId, attributes }: EventRecord): string[] {
  const name = attributes[type === 'image' ? 'name' : 'image'] ?? '';
  return [actorId, name, withoutTag(actorId), withoutTag(name)];
}

function withoutTag(image: string): string {
  try {
    return familiarName(parseReference(image));
  } catch {
    return image; // no reference, such as the name of a volume
  }
}
