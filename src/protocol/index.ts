export * from './generated/ops_pb.js';
