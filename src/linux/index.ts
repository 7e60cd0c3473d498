export * from './byte-string.ts';
export { completeHybridCgroups } from './cgroup-hybrid.ts';
export * from './cgroup-layout.ts';
export { expectCgroupMove } from './cgroup-move.ts';
export * from './cgroup-stats.ts';
export * from './cgroups.ts';
export * from './conntrack.ts';
export * from './console-socket.ts';
export * from './ffi.ts';
export * from './file-status.ts';
export * from './files.ts';
export * from './flock.ts';
export * from './inflate.ts';
export * from './inode-flags.ts';
export * from './internet-address.ts';
export * from './kernel-file.ts';
export * from './mount.ts';
export * from './mount-table.ts';
export * from './netlink.ts';
export * from './netlink-route.ts';
export * from './netns.ts';
export * from './nftables.ts';
export type { ElementKey } from './nftables-elements.ts';
export * from './nftables-state.ts';
export * from './oom-kills.ts';
export * from './open-at2.ts';
export {
  bindHostPort,
  isAway,
  leaveThreadOutside,
  listHostSockets,
  openHostSocket,
  spawnOnHost,
} from './outside.ts';
export * from './peer-credentials.ts';
export * from './policy-route.ts';
export * from './process.ts';
export * from './process-tree.ts';
export * from './read-in-root.ts';
export { sealedCopy } from './sealed-copy.ts';
export * from './seccomp-filter.ts';
export * from './seqpacket.ts';
export * from './socket-spread.ts';
export * from './sockets.ts';
export * from './spawn.ts';
export * from './stream-socket.ts';
export { UnixDatagramSocket } from './unix-datagram.ts';
export * from './xattr.ts';
