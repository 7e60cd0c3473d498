/** An address without the credentials that may stand in it, as BuildKit hides them. */
export const redactAddress = (text: string): string =>
  text.replace(/^([a-z][a-z0-9+.-]*:\/\/)([^/?#@\s]+)@/i, (_, scheme: string, user: string) =>
    user.includes(':') ? `${scheme}xxxxx:xxxxx@` : scheme === 'ssh://' ? `${scheme}${user}@` : `${scheme}xxxxx@`,
  );
