import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { type ExecOp, ExecOpSchema } from '../../protocol/index.ts';
import type { FailedStep } from '../executor/failed-step.ts';
import type { ErrorDetail } from '../vertex-error.ts';

/**
 * By what a client opens a container where a command failed: the command, and results that show its mounts as it found and as it left
 * them, by the positions of the mounts.
 */
export function solveDetail(
  { exec }: FailedStep,
  inputIDs: readonly string[],
  mountIDs: readonly string[],
  description: Readonly<Record<string, string>> = {},
): ErrorDetail {
  const value = { inputIDs, mountIDs, op: { Op: { exec: goJson<ExecOp>(ExecOpSchema, exec) } }, description };
  return { typeUrl: 'github.com/moby/buildkit/errdefs.Solve+json', value: Buffer.from(JSON.stringify(value)) };
}

/** A message as Go's own JSON has its structs, which is not protobuf's JSON: names as in the definition, numbers as numbers. */
function goJson<T extends Message>(schema: DescMessage, message: T): Record<string, unknown> {
  const values = message as unknown as Record<string, unknown>;
  return Object.fromEntries(
    schema.fields.flatMap((field) => {
      const value = values[field.localName];
      return value === undefined ? [] : [[field.name, goValue(field, value)]];
    }),
  );
}

function goValue(field: DescField, value: unknown): unknown {
  switch (field.fieldKind) {
    case 'list':
      return (value as unknown[]).map((one) => goScalar(one, field.message));
    case 'map':
      return Object.fromEntries(
        Object.entries(value as Record<string, unknown>).map(([key, one]) => [key, goScalar(one, field.message)]),
      );
    default:
      return goScalar(value, field.message);
  }
}

function goScalar(value: unknown, schema: DescMessage | undefined): unknown {
  if (schema !== undefined) return goJson(schema, value as Message);
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return value;
}
