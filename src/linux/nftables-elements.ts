import { type NetlinkSocket, NetlinkWriter, NLM_F_CREATE } from './netlink.ts';

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12;
const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14;
const NFTA_SET_ELEM_LIST_TABLE = 1;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_DATA_VALUE = 1;

/** An element of a set, as the kernel has it: each part of a concatenation filled up to four bytes. */
export interface ElementKey {
  set: string;
  key: Buffer;
}

/**
 * Adds elements to sets of a table, or takes them out, all or none, without libnftables.
 * @throws {NetlinkError} ENOENT: there is no such table, set, or element to take out
 */
export function changeElements(
  netlink: NetlinkSocket,
  how: 'add' | 'delete',
  { family, table }: { family: number; table: string },
  elements: readonly ElementKey[],
): void {
  const boundary = new NetlinkWriter().raw(Buffer.of(0, 0, 0, NFNL_SUBSYS_NFTABLES)).bytes;
  const [type, flags] = how === 'add' ? [NFT_MSG_NEWSETELEM, NLM_F_CREATE] : [NFT_MSG_DELSETELEM, 0];
  const changes = [...Map.groupBy(elements, ({ set }) => set)].map(([set, its]) => {
    const body = new NetlinkWriter()
      .raw(Buffer.of(family, 0, 0, 0))
      .string(NFTA_SET_ELEM_LIST_TABLE, table)
      .string(NFTA_SET_ELEM_LIST_SET, set)
      .nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => {
        for (const { key } of its) {
          list.nest(NFTA_LIST_ELEM, (one) =>
            one.nest(NFTA_SET_ELEM_KEY, (value) => value.attribute(NFTA_DATA_VALUE, key)),
          );
        }
      });
    return { type, flags, body: body.bytes };
  });
  const messages = [
    { type: NFNL_MSG_BATCH_BEGIN, flags: 0, body: boundary },
    ...changes,
    { type: NFNL_MSG_BATCH_END, flags: 0, body: boundary },
  ];
  netlink.batch(messages, `${how} elements of ${table}`);
}
