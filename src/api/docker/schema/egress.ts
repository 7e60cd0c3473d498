import { Optional, Object as Struct, String as Text } from 'typebox';
import { strings } from './go.ts';

/** One change of an egress policy. */
export const egressBody = Struct(
  { Set: Optional(strings()), Add: Optional(strings()), Withdraw: Optional(strings()), Default: Optional(Text()) },
  { title: 'Egress' },
);
