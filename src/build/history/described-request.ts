import { create } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { control } from '../../protocol/index.ts';
import type { BuildRequest } from '../build-types.ts';
import { withoutPasswords } from '../without-passwords.ts';

const MAX_REF_LENGTH = 256;
/** Of attributes that are kept; clients send a few dozen. */
const MAX_ATTRIBUTES = 1_000;
const MAX_VALUE_LENGTH = 16_384;

/** What a record says of a build from its beginning on. @throws {TareError} InvalidArgument: the name is none */
export function describedRequest(request: BuildRequest): control.BuildHistoryRecord {
  const { ref, frontend = '', frontendOptions = {}, exporters } = request;
  if (ref.length > MAX_REF_LENGTH || !/^[\x21-\x7e]+$/.test(ref))
    throw new TareError('InvalidArgument', `invalid name ${JSON.stringify(ref.slice(0, MAX_REF_LENGTH))} of a build`);
  return create(control.BuildHistoryRecordSchema, {
    Ref: ref,
    Frontend: frontend,
    FrontendAttrs: attributesOf(frontendOptions),
    Exporters: exporters.map(({ type, attributes }) => ({ Type: type, Attrs: attributesOf(attributes) })),
  });
}

function attributesOf(given: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(given).slice(0, MAX_ATTRIBUTES);
  return Object.fromEntries(entries.map(([name, value]) => [name, withoutPasswords(value.slice(0, MAX_VALUE_LENGTH))]));
}
