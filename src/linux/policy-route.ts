import { NETLINK_ROUTE, NetlinkSocket, NetlinkWriter, NLM_F_CREATE, NLM_F_EXCL } from './netlink.ts';

const RTM_NEWROUTE = 24;
const RTM_NEWRULE = 32;
const AF_INET = 2;
const AF_INET6 = 10;
const RTA_OIF = 4;
const RTN_LOCAL = 2;
const RT_SCOPE_HOST = 254;
const RTPROT_BOOT = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_FWMASK = 16;
const FR_ACT_TO_TBL = 1;
const LOOPBACK_INDEX = 1;

/**
 * Delivers packets with a mark to sockets of this network namespace, whatever address they are for (ip-rule(8), ip-route(8):
 * `local default dev lo`), in both families. To be done once in a namespace.
 *
 * @param table a routing table of its own, 1 to 252
 */
export function deliverMarked(mark: number, table: number): void {
  using netlink = new NetlinkSocket(NETLINK_ROUTE);
  for (const family of [AF_INET, AF_INET6]) {
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
    const route = new NetlinkWriter()
      .raw(Buffer.of(family, 0, 0, 0, table, RTPROT_BOOT, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0))
      .u32(RTA_OIF, LOOPBACK_INDEX).bytes;
    netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route, `add local route to table ${table}`);
    // struct fib_rule_hdr: family, dst_len, src_len, tos, table, res1, res2, action, flags.
    const rule = new NetlinkWriter()
      .raw(Buffer.of(family, 0, 0, 0, table, 0, 0, FR_ACT_TO_TBL, 0, 0, 0, 0))
      .u32(FRA_PRIORITY, table)
      .u32(FRA_FWMARK, mark)
      .u32(FRA_FWMASK, 0xff_ff_ff_ff).bytes;
    netlink.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule, `add rule for mark ${mark}`);
  }
}
