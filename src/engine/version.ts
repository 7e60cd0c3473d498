/** The engine's version; the build puts the commit in. */
export const version = '0.1.0';
export const gitCommit = process.env['TARE_GIT_COMMIT'] ?? '';
