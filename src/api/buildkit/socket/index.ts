export { listenForBuilds } from './listen-for-builds.ts';
