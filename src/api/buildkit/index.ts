export { type SessionIntroduction, WireSession } from './session/wire-session.ts';
