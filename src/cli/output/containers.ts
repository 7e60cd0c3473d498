import type { Listing, Row } from './listing.ts';
import { type PortSummary, portsText } from './ports.ts';
import { ellipsis, shortId, sortedByKey } from './text.ts';
import { ago, goTime, humanSize } from './units.ts';

/** The Docker API's ContainerSummary, as far as it is shown. */
export interface ContainerSummary {
  Id: string;
  Names: string[] | null;
  Image: string;
  ImageID: string;
  Command: string;
  /** Seconds since the epoch. */
  Created: number;
  Ports: PortSummary[] | null;
  SizeRw?: number;
  SizeRootFs?: number;
  Labels: Record<string, string> | null;
  State: string;
  Status: string;
  NetworkSettings?: { Networks?: Record<string, unknown> | null } | null;
  Mounts: { Type: string; Name?: string; Source?: string; Driver?: string; Destination: string }[] | null;
}

export function containerListing(withSize: boolean): Listing {
  return {
    headings: {
      ID: 'CONTAINER ID',
      Image: 'IMAGE',
      Command: 'COMMAND',
      CreatedAt: 'CREATED AT',
      RunningFor: 'CREATED',
      Ports: 'PORTS',
      State: 'STATE',
      Status: 'STATUS',
      Size: 'SIZE',
      Names: 'NAMES',
      Labels: 'LABELS',
      Label: 'LABEL',
      Mounts: 'MOUNTS',
      LocalVolumes: 'LOCAL VOLUMES',
      Networks: 'NETWORKS',
      Platform: 'PLATFORM',
    },
    columns: ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names', ...(withSize ? ['Size'] : [])],
    quiet: 'ID',
  };
}

/** @param short cut ids, commands and mounts as docker does without --no-trunc */
export function containerRow(container: ContainerSummary, short: boolean, nowMs = Date.now()): Row {
  const names = (container.Names ?? []).map((name) => name.replace(/^\//, ''));
  const mounts = container.Mounts ?? [];
  const labels = container.Labels ?? {};
  return {
    ID: short ? shortId(container.Id) : container.Id,
    Image: imageText(container, short),
    Command: JSON.stringify(short ? ellipsis(container.Command, 20) : container.Command),
    CreatedAt: goTime(container.Created * 1000),
    RunningFor: ago(container.Created * 1000, nowMs),
    Ports: portsText(container.Ports ?? []),
    State: container.State,
    Status: container.Status,
    Size: sizeText(container),
    // The others are links: `web/db`.
    Names: (short ? names.filter((name) => !name.includes('/')) : names).join(','),
    Labels: sortedByKey(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Label: (key = '') => labels[key] ?? '',
    Mounts: mounts
      .map((mount) => mount.Name || mount.Source || '')
      .map((name) => (short ? ellipsis(name, 15) : name))
      .join(','),
    LocalVolumes: String(mounts.filter((mount) => mount.Driver === 'local').length),
    Networks: Object.keys(container.NetworkSettings?.Networks ?? {})
      .sort()
      .join(','),
    Platform: '',
  };
}

function imageText({ Image, ImageID }: ContainerSummary, short: boolean): string {
  if (Image === '') return '<no image>';
  if (short && (Image === ImageID || /^(sha256:)?[0-9a-f]{64}$/.test(Image))) return shortId(Image);
  return Image;
}

function sizeText({ SizeRw = 0, SizeRootFs = 0 }: ContainerSummary): string {
  const own = humanSize(SizeRw, 3);
  return SizeRootFs > 0 ? `${own} (virtual ${humanSize(SizeRootFs, 3)})` : own;
}
