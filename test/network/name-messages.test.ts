import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  answeredAddresses,
  answers,
  EDNS_UDP_BYTES,
  encodeName,
  isQuery,
  nameKey,
  passOn,
  type Query,
  type Refusal,
  readQuery,
  writeAnswer,
  writeRefusal,
} from '../../src/network/names/message.ts';
import { decode, encodeName as encode, encodeQuestion, types } from '../support/dns-client.ts';

function queryOf(message: Buffer): Query {
  const read = readQuery(message);
  if (read === undefined || !isQuery(read)) throw new Error('not read as a query');
  return read;
}

const refusalOf = (message: Buffer): Refusal => readQuery(message) as Refusal;
const patched = (message: Buffer, at: number, value: number): Buffer => {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(value, at);
  return copy;
};
const web = encodeQuestion({ name: 'Web.App', type: 'AAAA', id: 0x1234, edns: 4096 });

describe('reading queries', () => {
  test('a query with EDNS', () => {
    expect(queryOf(web)).toEqual({
      id: 0x1234,
      flags: 0x0100,
      name: 'web.app',
      type: 28,
      class: 1,
      questionEnd: 25,
      udpSizeBytes: 4096,
      edns: 0,
    });
  });

  test('a query without EDNS takes 512 bytes, and one that says less, too', () => {
    expect(queryOf(encodeQuestion({ name: 'a' }))).toMatchObject({ udpSizeBytes: 512, edns: undefined });
    expect(queryOf(encodeQuestion({ name: 'a', edns: 100 }))).toMatchObject({ udpSizeBytes: 512, edns: 0 });
  });

  test('the root has an empty name', () => expect(queryOf(encodeQuestion({ name: '' })).name).toBe(''));

  test('a dot inside a label is none between labels', () => {
    const message = encodeQuestion({ name: 'axb' });
    message[14] = '.'.charCodeAt(0);
    expect(queryOf(message).name).toBe('a\\.b');
  });

  test.each([
    ['a response, which two servers would send each other for ever', patched(web, 2, 0x8180)],
    ['less than a header', web.subarray(0, 11)],
    ['nothing', Buffer.alloc(0)],
  ])('no answer at all: %s', (_what, message) => expect(readQuery(message)).toBeUndefined());

  test.each([
    ['no question', patched(web, 4, 0)],
    ['two questions', patched(web, 4, 2)],
    ['an answer in it', patched(web, 6, 1)],
    ['an authority in it', patched(web, 8, 1)],
    ['more additional records than there are', patched(web, 10, 2)],
    ['very many additional records', patched(web, 10, 65_535)],
    ['a name without an end', web.subarray(0, 18)],
    ['no type', web.subarray(0, 22)],
    ['a compressed name', patched(web, 12, 0xc00c)],
    ['a label of a kind that does not exist', patched(web, 12, 0x4161)],
    ['bytes after the end', Buffer.concat([web, Buffer.of(0)])],
    ['two OPT records', patched(Buffer.concat([web, web.subarray(25)]), 10, 2)],
    [
      'a name of more than 255 bytes',
      encodeQuestion({ name: Array.from({ length: 5 }, () => 'x'.repeat(60)).join('.') }),
    ],
  ])('a format error: %s', (_what, message) => {
    expect(refusalOf(message)).toEqual({ id: message.readUInt16BE(0), flags: 0x0100, rcode: 1 });
    expect(decode(writeRefusal(refusalOf(message)))).toMatchObject({ id: message.readUInt16BE(0), rcode: 1 });
  });

  test('another operation than a query is not implemented', () => {
    expect(refusalOf(patched(web, 2, 0x2800)).rcode).toBe(4);
  });
});

describe('writing answers', () => {
  const address = (last: number) => ({ type: types.A, data: Buffer.of(10, 0, last >> 8, last & 0xff) });
  const many = Array.from({ length: 200 }, (_, index) => address(index));
  const whole = { rcode: 0, records: [address(7), address(8)], ttlSeconds: 5, isAuthoritative: true };

  test('addresses of the name that was asked for, in the spelling of the asker', () => {
    const request = encodeQuestion({ name: 'WeB', id: 7 });
    expect(decode(writeAnswer(request, queryOf(request), whole, 512))).toEqual({
      id: 7,
      rcode: 0,
      isAuthoritative: true,
      isTruncated: false,
      answers: ['10.0.0.7', '10.0.0.8'],
      ttls: [5, 5],
      hasEdns: false,
      sizeBytes: 12 + 9 + 2 * 16,
      question: 'WeB 1 1',
    });
  });

  test.each([
    ['512 bytes without EDNS', undefined, 512, 30],
    ['what the asker takes', 900, 900, 54],
    ['no more than fits everywhere', 4096, EDNS_UDP_BYTES, 75],
  ])('what does not fit is left out, and told: %s', (_what, edns, limit, count) => {
    const request = encodeQuestion({ name: 'web', ...(edns !== undefined && { edns }) });
    const message = writeAnswer(request, queryOf(request), { ...whole, records: many }, limit);
    expect(message.length).toBeLessThanOrEqual(limit);
    expect(decode(message)).toMatchObject({ isTruncated: true, hasEdns: edns !== undefined });
    expect(decode(message).answers).toHaveLength(count);
  });

  test('on TCP all of them fit', () => {
    const request = encodeQuestion({ name: 'web' });
    const told = decode(writeAnswer(request, queryOf(request), { ...whole, records: many }, 65_535));
    expect(told.isTruncated).toBe(false);
    expect(told.answers).toHaveLength(200);
  });

  test('an extended response code goes into the OPT record', () => {
    const request = encodeQuestion({ name: 'web', edns: 1232, ednsVersion: 1 });
    const bad = { rcode: 16, records: [], ttlSeconds: 0, isAuthoritative: true };
    expect(decode(writeAnswer(request, queryOf(request), bad, 512)).rcode).toBe(16);
  });
});

describe('answers of other servers', () => {
  const sent = encodeQuestion({ name: 'example.org', id: 99 });
  const { questionEnd } = queryOf(sent);
  const answered = writeAnswer(
    sent,
    queryOf(sent),
    { rcode: 0, records: [{ type: types.A, data: Buffer.of(192, 0, 2, 1) }], ttlSeconds: 300, isAuthoritative: false },
    512,
  );
  const reply = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(answered);
    change(copy);
    return copy;
  };

  test('the true one, in either case', () => {
    expect(answers(answered, sent, questionEnd)).toBe(true);
    expect(
      answers(
        reply((copy) => copy.write('EXAMPLE', 13, 'latin1')),
        sent,
        questionEnd,
      ),
    ).toBe(true);
  });

  test.each([
    ['another id', reply((copy) => copy.writeUInt16BE(98, 0))],
    ['a query', sent],
    ['another name', reply((copy) => copy.write('f', 13, 'latin1'))],
    ['another type', reply((copy) => copy.writeUInt16BE(28, questionEnd - 4))],
    ['a type that differs like case does', reply((copy) => copy.writeUInt16BE(1 ^ 0x20, questionEnd - 4))],
    ['no question', reply((copy) => copy.writeUInt16BE(0, 4))],
    ['a piece', answered.subarray(0, questionEnd - 1)],
  ])('not: %s', (_what, message) => expect(answers(message, sent, questionEnd)).toBe(false));

  test("are passed on with the asker's id and spelling", () => {
    const request = encodeQuestion({ name: 'eXample.org', id: 5 });
    expect(decode(passOn(answered, request, queryOf(request), 512))).toMatchObject({
      id: 5,
      answers: ['192.0.2.1'],
      question: 'eXample.org 1 1',
    });
  });

  test('that are longer than the asker takes are cut to the question', () => {
    const records = Array.from({ length: 100 }, () => ({ type: types.A, data: Buffer.of(1, 2, 3, 4) }));
    const long = writeAnswer(sent, queryOf(sent), { rcode: 0, records, ttlSeconds: 1, isAuthoritative: false }, 65_535);
    const told = decode(passOn(long, sent, queryOf(sent), 512));
    expect(told).toMatchObject({ isTruncated: true, answers: [], rcode: 0 });
  });

  test('their addresses are read across a chain of names', () => {
    const chain = Buffer.concat([
      reply((copy) => copy.writeUInt16BE(3, 6)),
      Buffer.from('c00c00050001000000100002c00c', 'hex'),
      Buffer.from('c00c001c000100000009001020010db8000000000000000000000001', 'hex'),
    ]);
    const { addresses, ttlSeconds } = answeredAddresses(chain, queryOf(sent));
    expect(addresses.map((bytes) => bytes.toString('hex'))).toEqual(['c0000201', '20010db8000000000000000000000001']);
    expect(ttlSeconds).toBe(9);
  });
});

test('names on the wire', () => {
  expect(encodeName('web.app')?.equals(encode('web.app'))).toBe(true);
  expect(encodeName('x'.repeat(64))).toBeUndefined();
  expect(encodeName('a..b')).toBeUndefined();
  expect(encodeName('')).toBeUndefined();
  expect(encodeName(Array.from({ length: 128 }, () => 'a').join('.'))).toBeUndefined();
});

describe('foreign bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array));
  /** Well-formed at first, then with some bytes changed or cut off. */
  const damaged = fc
    .tuple(
      fc.array(fc.string({ minLength: 1, maxLength: 20 }), { maxLength: 8 }),
      fc.constantFrom(...(Object.keys(types) as (keyof typeof types)[])),
      fc.option(fc.nat(65_535), { nil: undefined }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      fc.nat(20),
    )
    .map(([labels, type, edns, changes, cut]) => {
      const name = labels.map((label) => label.replaceAll(/[^a-z]/gi, 'x')).join('.');
      const message = encodeQuestion({ name, type, ...(edns !== undefined && { edns }) });
      for (const [at, value] of changes) message[at % message.length] = value;
      return message.subarray(0, message.length - Math.min(cut, message.length));
    });

  test.each([
    ['any', bytes],
    ['damaged', damaged],
  ])('%s bytes are read, refused or ignored, and what is answered is well-formed', (_what, source) => {
    fc.assert(
      fc.property(source, fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 60 }), (message, datas) => {
        const read = readQuery(message);
        if (read === undefined) return;
        if (!isQuery(read)) return void decode(writeRefusal(read));
        const records = datas.map((data) => ({ type: types.TXT, data }));
        const answer = { rcode: 0, records, ttlSeconds: 1, isAuthoritative: true };
        const limit = Math.max(512, read.questionEnd + 11);
        const told = writeAnswer(message, read, answer, limit);
        expect(told.length).toBeLessThanOrEqual(limit);
        expect(decode(told).id).toBe(message.readUInt16BE(0));
      }),
      { numRuns: 2_000 },
    );
  });

  test('never pass for an answer that was not asked for, and their addresses end somewhere', () => {
    const sent = encodeQuestion({ name: 'example.org', id: 4 });
    const { questionEnd } = queryOf(sent);
    fc.assert(
      fc.property(bytes, (message) => {
        expect(answers(message, sent, questionEnd)).toBe(false);
        const framed = Buffer.concat([sent, message]);
        framed.writeUInt16BE(0x8180, 2);
        framed.writeUInt16BE(65_535, 6);
        const { addresses } = answeredAddresses(framed, queryOf(sent));
        expect(addresses.length * 15).toBeLessThanOrEqual(message.length + 15);
        passOn(framed, sent, queryOf(sent), 512);
      }),
      { numRuns: 2_000 },
    );
  });
});

test('a name is compared byte by byte, without case', () => {
  expect(queryOf(encodeQuestion({ name: 'Büro' })).name).toBe(nameKey('BüRO'));
  expect(queryOf(encodeQuestion({ name: 'WEB' })).name).toBe(nameKey('web'));
});
