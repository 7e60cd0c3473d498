import { canonicalName, parseReference } from '../../image/index.ts';

/** Images whose program is a Dockerfile frontend: ours does what they do, in whatever version. */
const images = ['docker.io/docker/dockerfile', 'docker.io/docker/dockerfile-upstream'];

/** Whether an image that is asked for by name is a frontend that the builder has in itself. */
export function isBuiltInFrontend(reference: string): boolean {
  try {
    return images.includes(canonicalName(parseReference(reference)));
  } catch {
    return false;
  }
}
