import { randomBytes } from 'node:crypto';

const PREFIX = 'buildnet';

/** The id under which a namespace for steps of builds is on a network, as a container would be. */
export const newStepNetworkID = (): string => `${PREFIX}${randomBytes(12).toString('hex')}`;

/** Whether something on a network is a namespace for steps of builds, and no container. */
export const isStepNetwork = (containerID: string): boolean => containerID.startsWith(PREFIX);
