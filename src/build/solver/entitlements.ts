import { TareError } from '../../errors/index.ts';
import { NetMode, type Op, SecurityMode } from '../../protocol/index.ts';

/** @throws {TareError} Forbidden: a step asks for what the build was not allowed, whether or not it would be found in the cache */
export function checkEntitlements(allowed: ReadonlySet<string>, { op }: Op): void {
  if (op.case !== 'exec') return;
  const need = (entitlement: string) => {
    if (allowed.has(entitlement)) return;
    throw new TareError('Forbidden', `${entitlement} is not allowed: build with --allow ${entitlement}`);
  };
  if (op.value.network === NetMode.HOST) need('network.host');
  if (op.value.security === SecurityMode.INSECURE) need('security.insecure');
  for (const { name } of op.value.cdiDevices) {
    if (!allowsDevice((entitlement) => allowed.has(entitlement), name)) need(`device=${name}`);
  }
}

/** Whether all devices are allowed, or one by its name. */
export const allowsDevice = (allows: (entitlement: string) => boolean, name: string): boolean =>
  ['device', `device=${name}`, `device=name=${name}`].some(allows);
