/**
 * The CSRF token of the page's login: no secret to scripts of this origin, and no login without
 * the cookie that they cannot read. It goes back to the server where other origins cannot put it.
 */

const COOKIE = '__Host-quire-csrf=';
/** What fits into a subprotocol and a header; a neighbouring port may put anything there. */
const TOKEN = /^[A-Za-z0-9_-]{1,256}$/;

/** Returns the token that `document.cookie` holds, or null. */
export function csrfToken(cookies) {
  const cookie = cookies.split('; ').find((each) => each.startsWith(COOKIE));
  const token = cookie?.slice(COOKIE.length);
  return token !== undefined && TOKEN.test(token) ? token : null;
}

/** Returns the subprotocols that carry the token: one or none. */
export function csrfEntry(cookies) {
  const token = csrfToken(cookies);
  return token === null ? [] : [`csrf.${token}`];
}
