import type { Platform } from '../storage/index.ts';

/** An image's configuration document (image-spec, config.md; docker's extensions included). Foreign: checked by `parseImageConfig`. */
export interface ImageConfigFile extends Platform {
  created?: string;
  author?: string;
  comment?: string;
  config?: ImageProcessConfig;
  rootfs: { type: 'layers'; diff_ids: string[] };
  history?: { created?: string; created_by?: string; author?: string; comment?: string; empty_layer?: boolean }[];
}

/** The execution parameters inside a configuration. */
export interface ImageProcessConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[];
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  /** Docker's extensions. Times in nanoseconds. */
  Healthcheck?: {
    Test?: string[];
    Interval?: number;
    Timeout?: number;
    StartPeriod?: number;
    StartInterval?: number;
    Retries?: number;
  };
  OnBuild?: string[];
  Shell?: string[];
  ArgsEscaped?: boolean;
  StopTimeout?: number;
}
