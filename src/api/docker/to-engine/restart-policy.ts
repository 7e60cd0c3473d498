import type { HostConfig, RestartPolicyName } from '../../../runtime/index.ts';
import { invalid } from './container-config.ts';

/** @throws {TareError} InvalidArgument, with docker's text */
export function toRestartPolicy(body: { Name: string; MaximumRetryCount: number }): HostConfig['restartPolicy'] {
  const { Name: name, MaximumRetryCount: count } = body;
  switch (name) {
    case '':
    case 'no':
    case 'always':
    case 'unless-stopped':
      if (count !== 0) {
        const remedy = count < 0 ? ' and cannot be negative' : '';
        throw invalid(`invalid restart policy: maximum retry count can only be used with 'on-failure'${remedy}`);
      }
      break;
    case 'on-failure':
      if (count < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
      break;
    default:
      throw invalid(
        `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
      );
  }
  return { name: (name || 'no') as RestartPolicyName, maximumRetryCount: count };
}
