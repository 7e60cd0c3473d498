import { SyscallError } from './ffi.ts';
import { type NetlinkSocket, NetlinkWriter, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './netlink.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_NEWTFILTER = 44;

const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;
const INGRESS_HANDLE = 0xffff0000;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;

const TCA_TBF_PARMS = 1;
const TCA_TBF_RATE64 = 4;
const TCA_TBF_BURST = 6;
const TC_LINKLAYER_ETHERNET = 1;
const MAX_U32 = 0xffffffff;

const TCA_U32_SEL = 5;
const TCA_U32_ACT = 7;
const TC_U32_TERMINAL = 1;
const TCA_ACT_KIND = 1;
const TCA_ACT_OPTIONS = 2;
const TCA_MIRRED_PARMS = 2;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
/** Any; as the kernel has it on the wire. */
const ETH_P_ALL_BE = 0x0300;
const FILTER_PRIORITY = 1;

/** What a token bucket lets through. */
export interface RateLimit {
  rateBytesPerSecond: number;
  /** Sent at once after a pause. No packet may be larger. */
  burstBytes: number;
  /** What waits; more is dropped. */
  queueBytes: number;
}

/**
 * Lets a link send no faster (qdisc tbf at its root), or again as fast as it can. Repeating is safe, and changes a limit
 * without losing what waits.
 *
 * @see tc-tbf(8)
 */
export function limitSending(netlink: NetlinkSocket, index: number, limit: RateLimit | undefined): void {
  if (limit === undefined) {
    removeQdisc(netlink, index, TC_H_ROOT);
    return;
  }
  const rate = limit.rateBytesPerSecond;
  // struct tc_tbf_qopt: rate and peak rate (struct tc_ratespec, 12 bytes each), limit, buffer, mtu
  const parms = Buffer.alloc(36);
  parms.writeUInt8(TC_LINKLAYER_ETHERNET, 1);
  parms.writeUInt32LE(Math.min(rate, MAX_U32), 8);
  parms.writeUInt32LE(limit.queueBytes, 24);
  const body = queueHeader(index, 0, TC_H_ROOT, 0)
    .string(TCA_KIND, 'tbf')
    .nest(TCA_OPTIONS, (options) => {
      options.attribute(TCA_TBF_PARMS, parms).u32(TCA_TBF_BURST, limit.burstBytes);
      if (rate >= MAX_U32) options.attribute(TCA_TBF_RATE64, u64(rate));
    });
  netlink.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body.bytes, `limit what link ${index} sends`);
}

/**
 * Sends all that a link receives through another one (an ifb) first, or no longer. Repeating is safe.
 * @param through index of the ifb in the same namespace
 */
export function redirectReceived(netlink: NetlinkSocket, index: number, through: number | undefined): void {
  removeQdisc(netlink, index, TC_H_INGRESS);
  if (through === undefined) return;
  const qdisc = queueHeader(index, INGRESS_HANDLE, TC_H_INGRESS, 0).string(TCA_KIND, 'ingress');
  const subject = `redirect what link ${index} receives`;
  netlink.request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, qdisc.bytes, subject);
  // struct tc_u32_sel with one key that fits everything
  const selector = Buffer.alloc(32);
  selector.writeUInt8(TC_U32_TERMINAL, 0);
  selector.writeUInt8(1, 2);
  // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
  const mirred = Buffer.alloc(28);
  mirred.writeInt32LE(TC_ACT_STOLEN, 8);
  mirred.writeInt32LE(TCA_EGRESS_REDIR, 20);
  mirred.writeUInt32LE(through, 24);
  const filter = queueHeader(index, 0, INGRESS_HANDLE, ((FILTER_PRIORITY << 16) | ETH_P_ALL_BE) >>> 0)
    .string(TCA_KIND, 'u32')
    .nest(TCA_OPTIONS, (options) =>
      options
        .attribute(TCA_U32_SEL, selector)
        .nest(TCA_U32_ACT, (actions) =>
          actions.nest(1, (action) =>
            action
              .string(TCA_ACT_KIND, 'mirred')
              .nest(TCA_ACT_OPTIONS, (parameters) => parameters.attribute(TCA_MIRRED_PARMS, mirred)),
          ),
        ),
    );
  netlink.request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, filter.bytes, subject);
}

function removeQdisc(netlink: NetlinkSocket, index: number, parent: number): void {
  try {
    netlink.request(RTM_DELQDISC, 0, queueHeader(index, 0, parent, 0).bytes, `remove queue of link ${index}`);
  } catch (error) {
    // There was none; or the link's own, which stays.
    if (!(error instanceof SyscallError && ['ENOENT', 'EINVAL'].includes(error.code))) throw error;
  }
}

/** struct tcmsg */
function queueHeader(index: number, handle: number, parent: number, info: number): NetlinkWriter {
  const header = Buffer.alloc(20);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(handle, 8);
  header.writeUInt32LE(parent, 12);
  header.writeUInt32LE(info, 16);
  return new NetlinkWriter().raw(header);
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
