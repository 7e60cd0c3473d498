import type { MountRequest } from '../../../runtime/index.ts';
import type { MountBody } from '../schema/container.ts';
import { invalid } from './container-config.ts';

const types = ['bind', 'volume', 'tmpfs', 'image'] as const;
const optionsOf = {
  BindOptions: 'bind',
  VolumeOptions: 'volume',
  TmpfsOptions: 'tmpfs',
  ImageOptions: 'image',
} as const;

/**
 * A mount in the long form. Whether its source exists is the engine's question.
 *
 * @throws {TareError} InvalidArgument: `invalid mount config for type …`, as docker says it
 */
export function toMount(body: MountBody): MountRequest {
  const type = types.find((known) => known === body.Type);
  if (!type) throw invalid(body.Type === '' ? 'mount type must not be empty' : `mount type unknown: "${body.Type}"`);
  const refuse = (reason: string) => invalid(`invalid mount config for type "${type}": ${reason}`);
  if (body.Target === '') throw refuse('field Target must not be empty');
  if (!body.Target.startsWith('/')) throw refuse(`invalid mount path: '${body.Target}' mount path must be absolute`);
  if (/^\/+(\.\/*)*$/.test(body.Target)) throw refuse("invalid specification: destination can't be '/'");
  for (const [field, of] of Object.entries(optionsOf) as [keyof typeof optionsOf, string][]) {
    if (body[field] && of !== type) throw refuse(`field ${field} must not be specified`);
  }
  checkSource(body, type, refuse);
  return {
    type,
    source: body.Source,
    target: body.Target,
    readOnly: body.ReadOnly,
    ...(body.BindOptions && {
      bind: {
        propagation: body.BindOptions.Propagation,
        nonRecursive: body.BindOptions.NonRecursive,
        createMountpoint: body.BindOptions.CreateMountpoint,
        readOnlyNonRecursive: body.BindOptions.ReadOnlyNonRecursive,
        readOnlyForceRecursive: body.BindOptions.ReadOnlyForceRecursive,
      },
    }),
    ...(body.VolumeOptions && {
      volume: {
        noCopy: body.VolumeOptions.NoCopy,
        labels: body.VolumeOptions.Labels,
        driver: body.VolumeOptions.DriverConfig.Name,
        driverOptions: body.VolumeOptions.DriverConfig.Options,
        subpath: body.VolumeOptions.Subpath,
      },
    }),
    ...(body.TmpfsOptions && {
      tmpfs: {
        sizeBytes: body.TmpfsOptions.SizeBytes,
        mode: body.TmpfsOptions.Mode,
        options: body.TmpfsOptions.Options,
      },
    }),
    ...(body.ImageOptions && { image: { subpath: body.ImageOptions.Subpath } }),
    ...(body.Consistency !== '' && { consistency: body.Consistency }),
  };
}

function checkSource(body: MountBody, type: (typeof types)[number], refuse: (reason: string) => Error): void {
  switch (type) {
    case 'bind': {
      if (body.Source === '') throw refuse('field Source must not be empty');
      if (!body.Source.startsWith('/')) {
        throw refuse(`invalid mount path: '${body.Source}' mount path must be absolute`);
      }
      const options = body.BindOptions;
      const known = ['', 'private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];
      if (options && !known.includes(options.Propagation)) {
        throw refuse(`invalid propagation mode: ${options.Propagation}`);
      }
      if (options?.ReadOnlyForceRecursive && options.NonRecursive) {
        throw refuse('ReadOnlyForceRecursive and NonRecursive are mutually exclusive');
      }
      return;
    }
    case 'volume':
      if (body.Source === '' && (body.VolumeOptions?.Subpath ?? '') !== '') {
        throw refuse('must not set Subpath when using anonymous volumes');
      }
      return;
    case 'tmpfs':
      if (body.Source !== '') throw refuse('field Source must not be specified');
      if ((body.TmpfsOptions?.SizeBytes ?? 0) < 0) throw refuse('field TmpfsOptions.SizeBytes must not be negative');
      return;
    case 'image':
      if (body.Source === '') throw refuse('field Source must not be empty');
      return;
  }
}
