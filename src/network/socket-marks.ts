/** SO_MARK of the sockets that serve names until the keeper has its own. */
export const STAND_IN_MARK = 0x74617266;
