import fc from 'fast-check';
import { expect, test } from 'vitest';
import { errorOfAnswer, errorOfConnection, parseErrorBody } from './registry-error.ts';

const purpose = { registry: 'registry.test', what: 'manifest a/b:v1' };

test.each([
  { body: '{"errors":[{"code":"DENIED","message":"no"}]}', want: { code: 'DENIED', message: 'no' } },
  { body: '{"errors":[{"code":"DENIED"}]}', want: { code: 'DENIED' } },
  { body: '{"errors":[null]}', want: {} },
  { body: '{"message":"of docker"}', want: { message: 'of docker' } },
  { body: '{"details":"of a token server"}', want: { message: 'of a token server' } },
  { body: '{"error":"x","error_description":"of OAuth"}', want: { message: 'of OAuth' } },
  { body: 'plain\ntext', want: { message: 'plain text' } },
  { body: ' <html>', want: {} },
  { body: '', want: {} },
  { body: 'null', want: {} },
  { body: '7', want: {} },
])('body $body', ({ body, want }) => expect(parseErrorBody(Buffer.from(body))).toEqual(want));

test('whatever a registry says becomes one line of bounded length', () => {
  const body = fc.oneof(
    fc.string({ maxLength: 3000, unit: 'binary' }),
    fc.json(),
    fc
      .record({
        errors: fc.array(fc.record({ code: fc.string(), message: fc.string({ maxLength: 2000, unit: 'binary' }) })),
      })
      .map((document) => JSON.stringify(document)),
  );
  fc.assert(
    fc.property(body, fc.integer({ min: 300, max: 599 }), (text, status) => {
      const { message } = errorOfAnswer(purpose, status, Buffer.from(text));
      expect(message).toContain('registry registry.test: manifest a/b:v1: ');
      expect(message.length).toBeLessThan(700);
      expect(message).not.toMatch(/\p{C}/u);
    }),
    { numRuns: 2000 },
  );
});

test.each([
  [401, 'Unauthorized', false],
  [403, 'Forbidden', false],
  [404, 'NotFound', false],
  [405, 'Unsupported', false],
  [408, 'Unavailable', true],
  [413, 'InvalidArgument', false],
  [416, 'InvalidArgument', false],
  [429, 'Unavailable', true],
  [500, 'Unavailable', true],
  [503, 'Unavailable', true],
] as const)('status %d is %s', (status, kind, isPassing) => {
  expect(errorOfAnswer(purpose, status, undefined)).toMatchObject({ kind, isPassing, status });
});

test.each([
  ['DEPTH_ZERO_SELF_SIGNED_CERT', /certs\.d\/registry\.test\/ca\.crt/],
  ['CERT_HAS_EXPIRED', /set this machine's clock/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another host's/],
  ['ERR_SSL_WRONG_VERSION_NUMBER', /mark it insecure/],
  ['HPE_INVALID_CONSTANT', /does not speak HTTP/],
  ['ENOTFOUND', /no host is called cdn\.test/],
  ['ECONNREFUSED', /no answer from cdn\.test:5000: connection refused \(.*\); check the port/],
])('a connection that ends with %s', (code, says) => {
  const cause = Object.assign(new Error('it failed'), { code });
  const error = errorOfConnection(purpose, new URL('https://cdn.test:5000/v2/'), cause, false);
  expect(error).toMatchObject({ kind: 'Unavailable', cause, message: expect.stringMatching(says) });
});
