import type { VolumeRecord, VolumeView } from '../../../engine/index.ts';
import { timestamp } from './time.ts';

/** The label by which docker's clients tell volumes that no user named. */
const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

export function volumeOf(volume: VolumeRecord) {
  const labels = { ...(volume.anonymous && { [ANONYMOUS_LABEL]: '' }), ...volume.labels };
  return {
    CreatedAt: timestamp(Math.floor(volume.createdMs / 1000) * 1000),
    Driver: volume.driver,
    Labels: Object.keys(labels).length > 0 ? labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: Object.keys(volume.options).length > 0 ? volume.options : null,
    Scope: 'local',
  };
}

export function volumeUsageOf(volume: VolumeView) {
  return { ...volumeOf(volume), UsageData: { RefCount: volume.refCount, Size: volume.sizeBytes } };
}
