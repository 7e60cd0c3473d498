import { TareError } from '../../errors/index.ts';

/** A user's word for an image, taken apart; the engine checks the whole grammar. */
export interface ImageName {
  /** As typed, without tag and digest. */
  name: string;
  tag?: string;
  digest?: string;
}

/** @throws {TareError} InvalidArgument: nothing, or no name before the tag */
export function imageName(text: string): ImageName {
  const match = /^([^@]*?)(?::([^:/@]*))?(?:@(.*))?$/s.exec(text);
  const [, name = '', tag, digest] = match ?? [];
  if (name === '' || tag === '' || digest === '' || /\s/.test(text))
    throw new TareError('InvalidArgument', `invalid reference format: ${JSON.stringify(text)}`);
  return { name, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** `docker.io/library/busybox` for `busybox`: the name with nothing left out. */
export function fullName(name: string): string {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const hasDomain = slash > 0 && (first === 'localhost' || /[.:]/.test(first) || first.toLowerCase() !== first);
  const [domain, path] = hasDomain ? [first, name.slice(slash + 1)] : ['docker.io', name];
  if (domain !== 'docker.io' && domain !== 'index.docker.io') return `${domain}/${path}`;
  return `docker.io/${path.includes('/') ? path : `library/${path}`}`;
}

/** The name in full with its tag and digest. */
export function fullReference(image: ImageName): string {
  return `${fullName(image.name)}${image.tag === undefined ? '' : `:${image.tag}`}${image.digest === undefined ? '' : `@${image.digest}`}`;
}
