import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { type Head, ResponseParser } from './response-parser.ts';

interface Seen {
  head?: Head;
  body: string;
  ended: boolean;
  rest: string;
}

function read(pieces: readonly Uint8Array[], options: ConstructorParameters<typeof ResponseParser>[1] = {}): Seen {
  const seen: Seen = { body: '', ended: false, rest: '' };
  const parser = new ResponseParser(
    {
      head: (head) => {
        expect(seen.head).toBeUndefined();
        seen.head = head;
      },
      data: (bytes) => {
        expect(seen.ended).toBe(false);
        seen.body += Buffer.from(bytes).toString('latin1');
      },
      end: () => {
        seen.ended = true;
      },
    },
    options,
  );
  for (const piece of pieces) seen.rest += Buffer.from(parser.feed(piece)).toString('latin1');
  parser.finish();
  return seen;
}

const bytes = (text: string) => Buffer.from(text, 'latin1');

test.each([
  ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello', ''],
  [
    'chunks',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext="x"\r\nlo\r\n0\r\n\r\n',
    'hello',
    '',
  ],
  [
    'trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5 \r\nhello\r\n000\r\nA: b\r\nC: d\r\n\r\n',
    'hello',
    '',
  ],
  ['the end of the connection', 'HTTP/1.0 200 OK\r\n\r\nhello', 'hello', ''],
  ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 5\n\nhello', 'hello', ''],
  ['nothing', 'HTTP/1.1 204 No Content\r\n\r\n', '', ''],
  ['nothing for 304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', '', ''],
  ['a length of zero', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', '', ''],
  [
    '1xx before it',
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    'hello',
    '',
  ],
  ['bytes behind it', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore', 'hello', 'more'],
])('a body by %s, however it is cut', (_, text, body, rest) => {
  fc.assert(
    fc.property(fc.array(fc.nat(text.length)), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), text.length];
      const pieces = at.slice(1).map((end, i) => bytes(text.slice(at[i], end)));
      const seen = read(pieces);
      expect(seen).toMatchObject({ body, ended: true, rest });
    }),
  );
});

test('headers are lower case, trimmed and joined', () => {
  const { head } = read([
    bytes('HTTP/1.1 404 Not Found\r\nX-A:  b \r\nx-a: c\r\n__proto__: x\r\nContent-Length: 0\r\n\r\n'),
  ]);
  expect(head?.status).toBe(404);
  expect({ ...head?.headers }).toEqual({ 'x-a': 'b, c', ['__proto__']: 'x', 'content-length': '0' });
});

test('the answer to HEAD has no body whatever it says', () => {
  expect(read([bytes('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')], { bodyless: true })).toMatchObject({
    body: '',
    ended: true,
  });
});

test.each(['101 UPGRADED', '200 OK'])('after %s the connection is raw', (status) => {
  const seen = read([bytes(`HTTP/1.1 ${status}\r\nContent-Type: x\r\n\r\nraw\r\n0\r\n`)], { upgrades: true });
  expect(seen).toMatchObject({ body: '', rest: 'raw\r\n0\r\n' });
});

test.each([
  'SSH-2.0-OpenSSH\r\n\r\n',
  'HTTP/2 200 OK\r\n\r\n',
  'HTTP/1.1 abc\r\n\r\n',
  'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
  'HTTP/1.1 200 OK\r\n folded: x\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  'HTTP/1.1 200',
  `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(70_000)}`,
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'a'.repeat(70_000)}`,
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(20_000)}`,
])('%#: what is not HTTP is refused', (text) => {
  expect(() => read([bytes(text)])).toThrow(TareError);
});

test('any bytes are an answer or refused', () => {
  const word = fc.constantFrom(
    'HTTP/1.1 200 OK\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Content-Length: 3\r\n',
    '\r\n',
    '3\r\nabc\r\n',
    '0\r\n',
    '\n',
    'zz',
    ': ',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(word, fc.string())), (words) => {
      try {
        read(words.map(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
    { numRuns: 500 },
  );
});
