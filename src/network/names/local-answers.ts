import type { Addresses, Asker, NameDirectory } from './directory.ts';
import { type AnswerRecord, CLASS_IN, type Query, RecordType, ResponseCode } from './message.ts';

/** What is to become of a query. */
export type Decision =
  | { kind: 'answer'; rcode: number; records: AnswerRecord[] }
  /** Unknown here: the container's resolvers, or the host's, are asked. */
  | { kind: 'forward' };

const answer = (rcode: number, records: AnswerRecord[] = []): Decision => ({ kind: 'answer', rcode, records });

/**
 * Answers from what is known of the asker's networks. A name that is known has no other records than its addresses, so
 * whatever else is asked of it gets an empty answer and goes nowhere.
 */
export function decide(directory: NameDirectory, asker: Asker, query: Query): Decision {
  if (query.edns !== undefined && query.edns > 0) return answer(ResponseCode.badVersion);
  if (query.class !== CLASS_IN || query.type === RecordType.AXFR || query.type === RecordType.IXFR) {
    return answer(ResponseCode.refused);
  }
  const found = [...directory.find(asker.container, query.name)];
  if (found.length > 0) return answer(ResponseCode.noError, addressRecords(found, query.type));
  const pointer = directory.reverse(asker.container, query.name);
  if (pointer === undefined) return { kind: 'forward' };
  if (pointer === null) return answer(ResponseCode.noSuchName);
  const isAsked = query.type === RecordType.PTR || query.type === RecordType.ANY;
  return answer(ResponseCode.noError, isAsked ? [{ type: RecordType.PTR, data: pointer }] : []);
}

function addressRecords(found: readonly Addresses[], type: number): AnswerRecord[] {
  const of = (family: 'ipv4' | 'ipv6', wanted: number): AnswerRecord[] => {
    if (type !== wanted && type !== RecordType.ANY) return [];
    // The first network that knows an address of this family decides, as its order says.
    const addresses = found.find((entry) => entry[family].length > 0)?.[family] ?? [];
    return rotated(addresses).map((data) => ({ type: wanted, data }));
  };
  return [...of('ipv4', RecordType.A), ...of('ipv6', RecordType.AAAA)];
}

/** From a random one on, so that many askers who take the first spread over all. */
function rotated<T>(list: readonly T[]): readonly T[] {
  if (list.length < 2) return list;
  const start = Math.floor(Math.random() * list.length);
  return [...list.slice(start), ...list.slice(0, start)];
}
