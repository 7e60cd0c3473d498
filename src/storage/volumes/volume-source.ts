/** What a volume of the local driver shows instead of a folder of its own; words as for mount(8). */
export interface VolumeSource {
  type: string;
  options: string;
  device: string;
}
