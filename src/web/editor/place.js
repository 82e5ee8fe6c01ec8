/** Where to go after signing in: a place of this server, whatever the address of the page says. */

/** Returns the address of the login page that leads back to a place of this server. */
export function loginAddress({ pathname, search }) {
  return `/login?next=${encodeURIComponent(pathname + search)}`;
}

/**
 * Returns the whole address that `next` in a query names, or null. It has to be a path that begins
 * with one slash; the whole address is returned because a path alone may turn out to be more.
 */
export function nextPlace(query, origin) {
  const next = new URLSearchParams(query).get('next');
  if (next === null || !next.startsWith('/') || !URL.canParse(next, origin)) return null;
  const url = new URL(next, origin);
  return url.origin === origin && !url.pathname.startsWith('//') ? url.href : null;
}
