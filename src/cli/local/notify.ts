import { spawn } from 'node:child_process';

/**
 * Tells the service manager how we are, when one asked for it (sd_notify(3)). Node has no datagram unix sockets and this is said
 * twice in a daemon's life, so systemd's own little program says it.
 */
export function notifyReady(state: 'READY=1' | 'STOPPING=1'): void {
  if (!process.env['NOTIFY_SOCKET']) return;
  spawn('systemd-notify', [`--pid=${process.pid}`, state], { stdio: 'ignore' }).on('error', () => {
    // Without systemd's programs there is no systemd to tell.
  });
}
