import { create } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { gateway } from '../../protocol/index.ts';
import type { Attestation, BridgeRef, FrontendResult } from '../frontend.ts';

/** A result with an id in the place of each reference; what it holds is told to `keep`. */
export function resultMessage(result: FrontendResult, keep: (ref: BridgeRef) => void): gateway.Result {
  const refMessage = (ref: BridgeRef | undefined): gateway.Ref => {
    if (ref === undefined) return create(gateway.RefSchema);
    keep(ref);
    return create(gateway.RefSchema, { id: ref.id, ...(ref.definition && { def: ref.definition }) });
  };
  const message = create(gateway.ResultSchema, { metadata: Object.fromEntries(result.metadata) });
  if (result.refs.size > 0) {
    const refs = Object.fromEntries([...result.refs].map(([key, ref]) => [key, refMessage(ref)]));
    message.result = { case: 'refs', value: create(gateway.RefMapSchema, { refs }) };
  } else {
    message.result = { case: 'ref', value: refMessage(result.ref) };
  }
  for (const [key, attestations] of result.attestations) {
    message.attestations[key] = create(gateway.AttestationsSchema, {
      attestation: attestations.map((one) => attestationMessage(one, refMessage)),
    });
  }
  return message;
}

function attestationMessage(
  { kind, ref, path, metadata, inToto }: Attestation,
  refMessage: (ref: BridgeRef | undefined) => gateway.Ref,
): gateway.Attestation {
  return create(gateway.AttestationSchema, {
    kind: kind === 'bundle' ? gateway.AttestationKind.Bundle : gateway.AttestationKind.InToto,
    ...(ref && { ref: refMessage(ref) }),
    path,
    metadata: { ...metadata },
    inTotoPredicateType: inToto?.predicateType ?? '',
    inTotoSubjects: (inToto?.subjects ?? []).map(({ kind: subject, name, digests }) =>
      create(gateway.InTotoSubjectSchema, {
        kind: subject === 'raw' ? gateway.InTotoSubjectKind.Raw : gateway.InTotoSubjectKind.Self,
        name,
        digest: [...digests],
      }),
    ),
  });
}

/**
 * The result that a frontend returns.
 * @param find the reference of an id @throws {TareError} InvalidArgument: of no answer before
 */
export function resultOf(message: gateway.Result, find: (id: string) => BridgeRef): FrontendResult {
  const metadata = new Map(Object.entries(message.metadata));
  const refOf = (id: string) => (id === '' ? undefined : find(id));
  const attestations = new Map(
    Object.entries(message.attestations).map(([key, { attestation }]) => [
      key,
      attestation.map((one) => attestationOf(one, refOf)),
    ]),
  );
  const { result } = message;
  switch (result.case) {
    case 'ref':
      return { ref: refOf(result.value.id), refs: new Map(), metadata, attestations };
    case 'refDeprecated':
      return { ref: refOf(result.value), refs: new Map(), metadata, attestations };
    case 'refs': {
      const refs = new Map(Object.entries(result.value.refs).map(([key, { id }]) => [key, refOf(id)]));
      return { refs, metadata, attestations };
    }
    case 'refsDeprecated': {
      const refs = new Map(Object.entries(result.value.refs).map(([key, id]) => [key, refOf(id)]));
      return { refs, metadata, attestations };
    }
    default:
      return { refs: new Map(), metadata, attestations };
  }
}

function attestationOf(message: gateway.Attestation, refOf: (id: string) => BridgeRef | undefined): Attestation {
  const ref = message.ref && refOf(message.ref.id);
  const attestation: Attestation = {
    kind: message.kind === gateway.AttestationKind.Bundle ? 'bundle' : 'in-toto',
    path: message.path,
    metadata: message.metadata,
    ...(ref && { ref }),
  };
  if (message.inTotoPredicateType !== '') {
    attestation.inToto = {
      predicateType: message.inTotoPredicateType,
      subjects: message.inTotoSubjects.map(({ kind, name, digest }) => {
        if (kind !== gateway.InTotoSubjectKind.Self && kind !== gateway.InTotoSubjectKind.Raw)
          throw new TareError('InvalidArgument', `an attestation with a subject of unknown kind ${kind}`);
        return { kind: kind === gateway.InTotoSubjectKind.Raw ? 'raw' : 'self', name, digests: digest };
      }),
    };
  }
  return attestation;
}
