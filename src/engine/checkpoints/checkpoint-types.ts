/** Which checkpoint of a container, and where. */
export interface CheckpointPlace {
  name: string;
  /** The folder of its folder, absolute; undefined: the container's own. */
  directory?: string;
}

export interface CheckpointRequest extends CheckpointPlace {
  /** End the container as soon as the checkpoint is whole. */
  exit: boolean;
  /** Keep open TCP connections, at both ends of which nothing may be lost meanwhile; else a container with some is refused. */
  tcpEstablished?: boolean;
}
