import { expect, test } from 'vitest';
import { BodyDecoder, type BodyState, bodyState } from './body-decoder.ts';

/** Decodes a stream that comes in pieces of so many bytes, each piece with a decoder of its own that goes on where the last stopped. */
function decoded(stream: string, pieceBytes: number, sizeBytes?: number): { text: string; state: BodyState } {
  let state = bodyState(sizeBytes);
  let text = '';
  for (let at = 0; at < stream.length; at += pieceBytes) {
    const decoder = new BodyDecoder(structuredClone(state));
    const piece = Buffer.from(stream.slice(at, at + pieceBytes), 'latin1');
    text += piece.toString('latin1', 0, decoder.decode(piece));
    state = decoder.state;
  }
  return { text, state };
}

test.each([
  {
    form: 'blocks',
    stream: '4\r\nfour\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n',
    want: 'fourabcdefghijklmnopqrstuvwxyz',
  },
  { form: 'extensions and trailers', stream: '2;name="x"\r\n\r\n\r\n0\r\nDigest: y\r\n\r\n', want: '\r\n' },
  { form: 'bare newlines', stream: '1\na\n0\n\n', want: 'a' },
  { form: 'nothing', stream: '0\r\n\r\n', want: '' },
  { form: 'what follows its end', stream: '1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n', want: 'a' },
  { form: 'a size', stream: 'fourGET /', sizeBytes: 4, want: 'four' },
])('a body with $form, however it is cut', ({ stream, sizeBytes, want }) => {
  for (let pieceBytes = 1; pieceBytes <= stream.length; pieceBytes++) {
    expect(decoded(stream, pieceBytes, sizeBytes)).toMatchObject({ text: want, state: { phase: 'end' } });
  }
});

test.each(['x\r\n', '\r\n', '-1\r\n', '0x1\r\n', '1\r\nab\r\n', '12345678901234\r\n', `1;${'x'.repeat(5000)}`])(
  'no body begins with %j',
  (stream) => {
    for (const pieceBytes of [1, stream.length]) {
      expect(() => decoded(stream, pieceBytes)).toThrow(expect.objectContaining({ kind: 'InvalidArgument' }));
    }
  },
);

test('a body that ends early is not at its end', () => {
  expect(decoded('4\r\nfou', 3)).toMatchObject({ text: 'fou', state: { phase: 'data', leftBytes: 1 } });
  expect(decoded('fou', 3, 4)).toMatchObject({ text: 'fou', state: { phase: 'data', leftBytes: 1 } });
});
