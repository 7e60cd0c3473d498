import koffi from 'koffi';
import { check, libc } from './ffi.ts';

const setsockopt = libc.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)');

const SOL_SOCKET = 1;
const SO_ATTACH_REUSEPORT_CBPF = 51;

// struct sock_filter: code, jt, jf, k (linux/filter.h)
const BPF_LD_W_ABS = 0x20;
const BPF_ALU_MOD_K = 0x94;
const BPF_RET_A = 0x16;
/** From here on offsets are into the network header (SKF_NET_OFF). */
const NETWORK_HEADER = 0xfff0_0000;
/** The source address of an IPv4 header, and the last part of one of IPv6. */
const SOURCE = { 4: NETWORK_HEADER + 12, 6: NETWORK_HEADER + 8 + 12 };

/**
 * Gives each sender one of the sockets that share a port (SO_REUSEPORT), by its address, so that who floods fills his own
 * socket only. Counts for all sockets of the port, also those that come later.
 *
 * @param fd one of them, bound
 * @param count how many there are; a socket beyond it gets nothing
 * @see linux/filter.h, Documentation/networking/filter.rst
 */
export function spreadBySource(fd: number, family: 4 | 6, count: number): void {
  const program = [
    [BPF_LD_W_ABS, SOURCE[family]],
    [BPF_ALU_MOD_K, count],
    [BPF_RET_A, 0],
  ] as const;
  const filter = Buffer.alloc(program.length * 8);
  program.forEach(([code, operand], index) => {
    filter.writeUInt16LE(code, index * 8);
    filter.writeUInt32LE(operand, index * 8 + 4);
  });
  // struct sock_fprog: the length, and a pointer after padding.
  const fprog = Buffer.alloc(16);
  fprog.writeUInt16LE(program.length, 0);
  fprog.writeBigUInt64LE(koffi.address(filter), 8);
  check(
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, fprog, fprog.length),
    'setsockopt',
    'SO_ATTACH_REUSEPORT_CBPF',
  );
}
