/**
 * Who may enter, in a real browser against the real server: logins and their cookies, pages of
 * other origins, logins that end while somebody types.
 */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Elsewhere, Guarded } from './browser/doors.mjs';
import { forge, reach } from './browser/mallory.mjs';
import { Program } from './browser/program.mjs';
import { Person, launch } from './browser/window.mjs';

const PATIENCE = { timeout: 20_000 };
const LIMIT = { timeout: 90_000 };
const [LOGIN, CSRF] = ['__Host-quire-login', '__Host-quire-csrf'];

let [guarded, elsewhere, browser] = [];

before(async () => {
  [guarded, elsewhere, browser] = await Promise.all(
    [Guarded.start(), Elsewhere.start(), launch()]);
});

after(async () => {
  await Person.dismissAll();
  await browser?.close();
  await elsewhere?.stop();
  if (guarded) assert.equal(await guarded.stop(), 0, 'the server ends in order');
});

function arrive(options) {
  return Person.arrive(browser, guarded.program.port, options);
}

/** Brings somebody to a document, signed in. */
async function member(subject, doc, token) {
  const person = await arrive();
  await person.signIn(token ?? await guarded.token(subject), `/d/${doc}`);
  await person.badge('saved');
  return person;
}

/** Returns the cookies that a browser has, by their names. */
async function cookies(person) {
  const cdp = await person.context.newCDPSession(person.page);
  const { cookies: all } = await cdp.send('Network.getCookies');
  await cdp.detach();
  return new Map(all.map((cookie) => [cookie.name, cookie]));
}

/** Waits until the banner has a title, and returns it. */
async function banner(person, title) {
  const found = person.page.locator('#banner');
  await found.getByRole('heading', { name: title }).waitFor(PATIENCE);
  return found;
}

test('who is not signed in is led to the login and back, and can sign out', async () => {
  const ada = await arrive();
  await ada.page.goto(`${ada.line.url}/d/led`);
  await ada.badge('signed-out');
  const asked = await banner(ada, 'Sign in to open this document');
  assert.equal(await ada.page.locator('#person').isVisible(), false, 'nobody is asked for a name');
  assert.equal(await asked.getByRole('link').getAttribute('href'), '/login?next=%2Fd%2Fled');
  await asked.getByRole('link', { name: 'Sign in' }).click();
  await ada.page.fill('#token', await guarded.token('ada', { name: 'Ada Lovelace' }));
  await ada.press('Enter');
  await ada.page.waitForURL(`${ada.line.url}/d/led`);
  await ada.badge('saved');
  await ada.atText();
  await ada.type('Mine.');
  await ada.badge('saved');
  assert.equal(await guarded.text('led'), 'Mine.');
  assert.equal(await ada.page.textContent('#who'), 'Ada Lovelace');
  assert.equal(await ada.page.textContent('#me-name'), 'Ada Lovelace');
  await ada.page.getByRole('button', { name: 'Sign out' }).click();
  await ada.page.waitForURL(`${ada.line.url}/login?next=%2Fd%2Fled`);
  const left = await cookies(ada);
  assert.deepEqual([left.has(LOGIN), left.has(CSRF)], [false, false]);
  await ada.page.goto(`${ada.line.url}/d/led`);
  await banner(ada, 'Sign in to open this document');
  assert.equal(await ada.text(), '');
  await ada.leave();
});

test('the first page says who is signed in', async () => {
  const ada = await arrive();
  await ada.page.goto(ada.line.url);
  await ada.page.locator('#sign-in').click();
  await ada.page.fill('#token', await guarded.token('ada'));
  await ada.press('Enter');
  await ada.page.waitForURL(`${ada.line.url}/`);
  await ada.page.locator('#who', { hasText: 'ada' }).waitFor(PATIENCE);
  await ada.page.locator('#sign-out').click();
  await ada.page.locator('#sign-in').waitFor(PATIENCE);
  assert.equal((await cookies(ada)).size, 0);
  await ada.leave();
});

test('nothing can be typed or clicked before there is a script that takes it', LIMIT, async () => {
  const ada = await arrive();
  /** Opens a page whose script comes late, and returns its controls. */
  const open = async (place, script, ids) => {
    let hold;
    const route = new Promise((held) => { hold = held; });
    await ada.page.route(script, hold, { times: 1 });
    await ada.page.goto(`${ada.line.url}${place}`, { waitUntil: 'commit' });
    const controls = ids.map((id) => ada.page.locator(id));
    for (const control of controls) {
      await control.waitFor(PATIENCE);
      assert.equal(await control.isDisabled(), true, `${place} takes nothing yet`);
    }
    await (await route).continue();
    return controls;
  };
  const [token] = await open('/login?next=/d/late', /\/assets\/login-/, ['#token', '#login-send']);
  await token.fill(await guarded.token('ada'));
  await ada.press('Enter');
  await ada.badge('saved');
  const [name] = await open('/', /\/assets\/home-/, ['#open-name', '#new', '#open-form button']);
  await name.fill('later');
  await ada.press('Enter');
  await ada.badge('saved');
  const [share] = await open('/d/late', /\/assets\/page-/, ['#share', '#me']);
  await share.click();
  await ada.badge('saved');
  await ada.leave();
});

test('what is no good token is refused in words, and the field forgets it', async () => {
  const ada = await arrive();
  ada.page.on('request', (request) => assert.ok(!request.url().includes('eyJ'), request.url()));
  await ada.page.goto(`${ada.line.url}/login?next=/d/x`);
  const good = await guarded.token('ada');
  const cases = [['', /no token/], ['two words', /no token/], ['żółw', /no token/],
    [`${good.slice(0, -4)}AAAA`, /./], ['a.b.c', /./]];
  for (const [token, words] of cases) {
    await ada.page.fill('#token', token);
    await ada.press('Enter');
    const told = ada.page.locator('#login-error');
    await told.waitFor(PATIENCE);
    await ada.page.waitForFunction(() => !document.getElementById('login-send').disabled);
    assert.match(await told.textContent(), words);
    assert.equal(await ada.page.inputValue('#token'), '');
    assert.equal(new URL(ada.page.url()).search, '?next=/d/x', 'nothing went anywhere');
  }
  assert.equal((await cookies(ada)).size, 0);
  await ada.leave();
});

test('an address that leads elsewhere after the login leads nowhere', async () => {
  const ada = await arrive();
  const token = await guarded.token('ada');
  for (const next of [elsewhere.url('127.0.0.1'), '//localhost/', '/\\localhost', '/.//localhost/',
    '/%09/localhost', 'javascript:document.title=1']) {
    await ada.page.goto(`${ada.line.url}/login?next=${next}`);
    await ada.page.fill('#token', token);
    await ada.press('Enter');
    await ada.page.locator('#welcome').waitFor(PATIENCE);
    assert.equal(new URL(ada.page.url()).pathname, '/login', next);
    assert.match(await ada.page.textContent('#welcome-who'), /signed in as ada/);
  }
  await ada.leave();
});

test('the browser keeps the login from scripts, other sites and other hosts', async () => {
  const ada = await member('ada', 'flags');
  const found = await cookies(ada);
  assert.deepEqual([...found.keys()].sort(), [CSRF, LOGIN]);
  for (const [name, httpOnly] of [[LOGIN, true], [CSRF, false]]) {
    const cookie = found.get(name);
    const { secure, sameSite, path, domain } = cookie;
    assert.deepEqual({ httpOnly: cookie.httpOnly, secure, sameSite, path, domain },
      { httpOnly, secure: true, sameSite: 'Strict', path: '/', domain: '127.0.0.1' }, name);
    assert.ok(!domain.startsWith('.'), 'it goes to no other host');
  }
  await ada.leave();
});

/** Returns everything that a page can read back later, and every address that was asked. */
function kept(page) {
  return page.evaluate(async () => ({
    local: { ...localStorage },
    session: { ...sessionStorage },
    databases: await indexedDB.databases(),
    caches: await caches.keys(),
    workers: (await navigator.serviceWorker.getRegistrations()).length,
    cookies: document.cookie,
    window: window.name,
    addresses: performance.getEntriesByType('resource').map(({ name }) => name),
    document: document.documentElement.outerHTML,
    fields: [...document.querySelectorAll('input')].map(({ value }) => value),
    history: JSON.stringify(history.state),
  }));
}

test('no script finds the login, and nothing secret is kept or goes into an address', async () => {
  const ada = await arrive();
  const token = await guarded.token('ada');
  const asked = [];
  const answers = [];
  ada.context.on('request', (request) => asked.push(request.url()));
  ada.page.on('response', async (response) => {
    if (response.url().endsWith('/auth/session')) answers.push(response.text().catch(() => ''));
  });
  await ada.signIn(token, '/d/kept');
  await ada.badge('saved');
  await ada.atText();
  await ada.type('Kept.');
  await ada.badge('saved');
  await ada.page.locator('#who', { hasText: 'ada' }).waitFor(PATIENCE);
  const found = await cookies(ada);
  const secrets = [token, token.split('.')[2], found.get(LOGIN).value];
  for (const secret of secrets) assert.ok(secret.length > 20);
  const { local, session, databases, caches, workers, ...rest } = await kept(ada.page);
  assert.deepEqual(Object.keys(local).sort(), ['quire.recent']);
  assert.deepEqual({ session, databases, caches, workers },
    { session: {}, databases: [], caches: [], workers: 0 });
  assert.equal(rest.cookies, `${CSRF}=${found.get(CSRF).value}`);
  const cdp = await ada.context.newCDPSession(ada.page);
  const { entries } = await cdp.send('Page.getNavigationHistory');
  assert.ok(entries.length >= 2 && asked.length >= 5, 'there is something to look at');
  assert.ok(answers.length >= 2);
  const everything = JSON.stringify([local, rest, entries, asked, await Promise.all(answers)]);
  for (const secret of secrets) assert.ok(!everything.includes(secret));
  assert.ok(!asked.some((address) => address.includes(found.get(CSRF).value)));
  await ada.leave();
});

for (const [host, sameHost] of [['localhost', false], ['127.0.0.1', true]]) {
  test(`a page at another port of ${host} neither reads, changes nor connects`, LIMIT, async () => {
    const doc = `attacked-${host}`;
    // She may do everything, so that only what is tried here can be what fails.
    const ada = await member('ada', doc, await guarded.token('ada', { rights: '**=admin' }));
    await ada.atText();
    await ada.type('First. ');
    await ada.badge('saved');
    await ada.type('Then.');
    await ada.badge('saved');
    const aim = { target: ada.line.url, doc };
    const mallory = await ada.context.newPage();
    await mallory.goto(elsewhere.url(host));
    const got = await mallory.evaluate(reach, aim);
    // Cookies know no ports: a neighbour on this host reads the CSRF token, which is not enough.
    assert.deepEqual(got, { text: 'refused', session: 'refused', ticket: 'refused',
      sockets: [1006, 1006, 1006], csrf: sameHost });
    await mallory.evaluate(forge, aim);
    assert.equal(await guarded.text(doc), 'First. Then.');
    assert.equal((await cookies(ada)).size, 2, 'nobody was signed out');
    await ada.page.bringToFront();
    await ada.atText();
    await ada.type(' And on.');
    await ada.badge('saved');
    await ada.reads('First. Then. And on.');
    // A page of the server gets it all: what was tried works where it may.
    const own = await ada.context.newPage();
    await own.goto(`${ada.line.url}/`);
    const allowed = await own.evaluate(reach, aim);
    assert.equal(JSON.parse(allowed.text).text, 'First. Then. And on.');
    assert.equal(JSON.parse(allowed.session).subject, 'ada');
    assert.ok(JSON.parse(allowed.ticket).ticket.length > 0);
    assert.deepEqual(allowed.sockets, ['error', 1006, 'welcome'], 'only with protocol and token');
    await mallory.close();
    await own.close();
    await ada.leave();
  });
}

test('a cookie that a neighbour puts there logs nobody in', LIMIT, async () => {
  // What mallory may do is known: it must not become what ada does unawares.
  const mallory = await member('mallory', 'mallorys');
  const login = (await cookies(mallory)).get(LOGIN).value;
  const csrf = (await cookies(mallory)).get(CSRF).value;
  await mallory.leave();

  const ada = await arrive();
  const [host, port] = ['notes.localhost', new URL(ada.line.url).port];
  const docs = `http://${host}:${port}`;
  const put = (address, ...set) => ada.page.goto(address).then(() => ada.page.evaluate((all) => {
    for (const cookie of all) document.cookie = cookie;
    return document.cookie;
  }, set));
  const sibling = elsewhere.url(`evil.${host}`);
  const refused = [
    `${LOGIN}=${login}; Secure; Path=/; Domain=${host}`,
    `${LOGIN}=${login}; Path=/`,
    `${LOGIN}=${login}; Secure; Path=/d`,
    `${CSRF}=${csrf}; Secure; Path=/; Domain=${host}`,
  ];
  assert.equal(await put(sibling, ...refused), '', 'the browser takes none of them');
  const others = [LOGIN.slice('__Host-'.length), LOGIN.replace('__Host-', '__Secure-'),
    LOGIN.toLowerCase().replace('__host', '__HOST'), `${LOGIN}x`].map((name) => (
    `${name}=${login}; Secure; Path=/; Domain=${host}`));
  await put(sibling, ...others);
  await ada.page.goto(`${docs}/d/tossed`);
  assert.ok((await cookies(ada)).size > 0, 'some are there');
  await banner(ada, 'Sign in to open this document');
  // The own name in other letters is one more cookie to a browser, and not ours to a server.
  for (const name of (await cookies(ada)).keys()) assert.ok(name !== LOGIN && name !== CSRF, name);
  const session = await ada.page.evaluate(() => (
    fetch('/auth/session').then(({ status }) => status)));
  assert.equal(session, 401);

  // On the host itself a neighbouring port can set any cookie: it may sign somebody out, not in.
  const neighbour = elsewhere.url(host);
  await put(neighbour, `${LOGIN}=made-up; Secure; Path=/`, `${CSRF}=made-up; Secure; Path=/`);
  await ada.page.goto(`${docs}/d/tossed`);
  await banner(ada, 'Sign in to open this document');
  await ada.page.goto(`${docs}/login?next=/d/tossed`);
  await ada.page.fill('#token', await guarded.token('ada'));
  await ada.press('Enter');
  await ada.page.waitForURL(`${docs}/d/tossed`);
  await ada.badge('saved');
  // One of another login does not go with this one.
  assert.match(await put(neighbour, `${CSRF}=${csrf}; Secure; Path=/`), new RegExp(csrf));
  const answer = await ada.page.goto(`${docs}/d/tossed`).then(() => ada.page.evaluate((token) => (
    fetch('/auth/ticket', { method: 'POST', headers: { 'x-csrf-token': token } })
      .then(({ status }) => status)), csrf));
  assert.equal(answer, 403);
  await ada.context.close();
});

test('a login that ends while somebody types loses nothing', LIMIT, async () => {
  const [ada, ben] = [
    await member('ada', 'ends', await guarded.token('ada', { ttl: '6s' })),
    await member('ben', 'ends'),
  ];
  await ada.atText();
  await ada.type('Ada before. ');
  await ben.sees('Ada before. ');
  await ada.badge('signed-out');
  const said = await banner(ada, 'You were signed out');
  assert.match(await said.textContent(), /Nothing is lost: sign in again\./);
  await ada.press('Control+End');
  await ada.type('Ada meanwhile. ');
  assert.equal(await ada.badge('signed-out'), 'Signed out · 15 unsaved characters');
  await ben.page.bringToFront();
  await ben.atText();
  await ben.press('Control+Home');
  await ben.type('Ben meanwhile. ');
  await ben.badge('saved');
  assert.equal(await ada.text(), 'Ada before. Ada meanwhile. ');

  const opened = ada.context.waitForEvent('page');
  await said.getByRole('link', { name: 'Sign in' }).click();
  const tab = await opened;
  await tab.fill('#token', await guarded.token('ada'));
  await tab.keyboard.press('Enter');
  await tab.locator('#welcome').waitFor(PATIENCE);
  assert.match(await tab.textContent('#welcome-who'), /signed in as ada/);
  assert.equal(await tab.evaluate(() => window.opener), null);
  await ada.badge('saved');
  assert.equal(await said.isVisible(), false);
  const whole = 'Ben meanwhile. Ada before. Ada meanwhile. ';
  await ada.reads(whole);
  await ben.reads(whole);
  assert.equal(await guarded.text('ends'), whole);
  await tab.close();
  await ada.page.bringToFront();
  await ada.atText();
  await ada.type('Ada after.');
  await ben.sees('Ada after.');
  for (const person of [ada, ben]) await person.leave();
});

test('a token that is revoked closes its sockets, and loses nothing', LIMIT, async (t) => {
  const jti = `of-ada-${process.pid}`;
  const [ada, ben] = [
    await member('ada', 'revoked', await guarded.token('ada', { jti })),
    await member('ben', 'revoked'),
  ];
  await ada.page.bringToFront();
  await ada.atText();
  await ada.type('Ada before. ');
  await ben.sees('Ada before. ');
  await guarded.revoke(jti);
  const done = performance.now();
  const said = await banner(ada, 'You were signed out');
  t.diagnostic(`closed ${Math.round(performance.now() - done)} ms after the command`);
  assert.match(await said.textContent(), /revoked/);
  await ada.type('Ada meanwhile. ');
  assert.equal(await ada.badge('signed-out'), 'Signed out · 15 unsaved characters');
  const session = await ada.page.evaluate(async () => (await fetch('/auth/session')).status);
  assert.equal(session, 401, 'the login is over, though its cookie is there');
  assert.equal((await cookies(ada)).size, 2);
  await said.getByRole('button', { name: 'Try again' }).click();
  await ada.page.locator('#notice', { hasText: 'Nobody is signed in here yet.' }).waitFor(PATIENCE);
  assert.equal(await guarded.text('revoked'), 'Ada before. ');
  assert.equal(await ben.page.textContent('#badge .label'), 'Saved');
  const tab = await ada.context.newPage();
  await tab.goto(`${ada.line.url}/login`);
  await tab.fill('#token', await guarded.token('ada'));
  await tab.keyboard.press('Enter');
  await ben.sees('Ada before. Ada meanwhile. ');
  await ada.badge('saved');
  for (const person of [ada, ben]) await person.leave();
});

test('a login that was made unheard is found by the page itself', LIMIT, async () => {
  const ada = await arrive();
  // Without long timers: the page is not to find it only when it asks for another reason.
  await ada.context.addInitScript(() => {
    const timed = window.setTimeout;
    window.setTimeout = (act, ms) => (ms < 10_000 ? timed(act, ms) : 0);
  });
  await ada.signIn(await guarded.token('ada', { ttl: '6s' }), '/d/unheard');
  await ada.badge('saved');
  await ada.atText();
  await ada.type('Before. ');
  await ada.badge('saved');
  const newer = await guarded.token('ada');
  const status = await ada.page.evaluate(async (token) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch('/auth/session', { method: 'POST', headers })).status;
  }, newer);
  assert.equal(status, 200);
  const states = await ada.page.evaluateHandle(() => {
    const seen = [];
    const badge = document.getElementById('badge');
    new MutationObserver(() => seen.push(badge.dataset.state))
      .observe(badge, { attributeFilter: ['data-state'] });
    return seen;
  });
  await ada.page.waitForFunction((seen) => seen.includes('signed-out'), states, PATIENCE);
  await ada.badge('saved');
  await ada.type('After.');
  await ada.badge('saved');
  assert.equal(await guarded.text('unheard'), 'Before. After.');
  await ada.leave();
});

test('what was typed as one person is not sent as another unasked', LIMIT, async () => {
  const ada = await member('ada', 'whose', await guarded.token('ada', { ttl: '6s' }));
  await ada.atText();
  await ada.type('Seen. ');
  await ada.badge('signed-out');
  await ada.type('Ada’s. ');
  const tab = await ada.context.newPage();
  await tab.goto(`${ada.line.url}/login`);
  await tab.fill('#token', await guarded.token('ben'));
  await tab.keyboard.press('Enter');
  await tab.locator('#welcome').waitFor(PATIENCE);
  const said = await banner(ada, 'You are signed in as ben now');
  assert.equal(await guarded.text('whose'), 'Seen. ');
  assert.equal(await ada.badge('signed-out'), 'Signed out · 7 unsaved characters');
  await ada.page.bringToFront();
  await said.getByRole('button', { name: 'Go on' }).click();
  await ada.badge('saved');
  assert.equal(await guarded.text('whose'), 'Seen. Ada’s. ');
  await tab.close();
  await ada.leave();
});

test('many tabs go on at once with a new login, none as a forgery', LIMIT, async () => {
  const ada = await member('ada', 'many');
  const tabs = [ada.page];
  while (tabs.length < 5) {
    tabs.push(await ada.context.newPage());
    await tabs.at(-1).goto(`${ada.line.url}/d/many`);
    await tabs.at(-1).locator('#badge[data-state="saved"]').waitFor(PATIENCE);
  }
  const heard = [];
  const welcomed = tabs.map((tab) => new Promise((done) => {
    tab.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
      heard.push(payload);
      if (payload.includes('"t":"welcome"')) done();
    }));
  }));
  const tab = await ada.context.newPage();
  await tab.goto(`${ada.line.url}/login`);
  await tab.fill('#token', await guarded.token('ada'));
  await tab.keyboard.press('Enter');
  await Promise.all(welcomed);
  assert.deepEqual(heard.filter((frame) => frame.includes('"t":"error"')), []);
  await ada.leave();
});

test('signing out in one tab closes the others, which keep what was not sent', LIMIT, async () => {
  const ada = await member('ada', 'tabs');
  await ada.atText();
  await ada.type('Here.');
  await ada.badge('saved');
  const tab = await ada.context.newPage();
  await tab.goto(`${ada.line.url}/`);
  await tab.locator('#sign-out').click();
  await tab.locator('#sign-in').waitFor(PATIENCE);
  await banner(ada, 'You were signed out');
  await ada.page.bringToFront();
  await ada.type(' More.');
  assert.equal(await ada.badge('signed-out'), 'Signed out · 6 unsaved characters');
  assert.equal(await guarded.text('tabs'), 'Here.');
  assert.equal((await cookies(ada)).size, 0);
  await tab.close();
  await ada.leave();
});

test('who may only read is told so, and types nothing', LIMIT, async () => {
  const ada = await member('ada', 'view');
  await ada.atText();
  await ada.type('To read.');
  await ada.badge('saved');
  const eve = await member('eve', 'view', await guarded.token('eve', { rights: 'view=read' }));
  const sent = [];
  eve.page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => sent.push(payload));
  });
  await eve.page.reload();
  await eve.badge('saved');
  await eve.reads('To read.');
  assert.equal(await eve.page.textContent('#badge .label'), 'Read only');
  await eve.page.locator('#view-note').waitFor(PATIENCE);
  const content = eve.page.locator('.cm-content');
  assert.equal(await content.getAttribute('aria-readonly'), 'true');
  await content.click();
  await eve.type('nonsense');
  await eve.page.locator('#notice', { hasText: 'Read only' }).waitFor(PATIENCE);
  await eve.press('Backspace');
  await ada.page.bringToFront();
  await ada.type(' On.');
  await eve.reads('To read. On.');
  assert.equal(await guarded.text('view'), 'To read. On.');
  assert.ok(sent.some((frame) => frame.includes('"hello"')), 'frames were seen');
  assert.ok(!sent.some((frame) => frame.includes('"t":"op"')));
  for (const person of [ada, eve]) await person.leave();
});

test('who has no right is told so, and may come as somebody else', LIMIT, async () => {
  const eve = await arrive();
  await eve.signIn(await guarded.token('eve', { rights: 'other=read' }), '/d/closed');
  await eve.badge('stopped');
  const said = await banner(eve, 'You may not open this document');
  assert.equal(await said.getByRole('link', { name: 'Sign in' }).count(), 1);
  const tab = await eve.context.newPage();
  await tab.goto(`${eve.line.url}/login`);
  await tab.fill('#token', await guarded.token('ada'));
  await tab.keyboard.press('Enter');
  await eve.badge('saved');
  await tab.close();
  await eve.leave();
});

test('a server that is open says so on every page', LIMIT, async () => {
  const open = await Program.start();
  try {
    const ada = await Person.arrive(browser, open.port, { name: 'Ada' });
    await ada.open('open');
    for (const address of ['/d/open', '/']) {
      await ada.page.goto(`${ada.line.url}${address}`);
      await ada.page.locator('#open-note').waitFor(PATIENCE);
      const note = await ada.page.textContent('#open-note');
      assert.match(note, /Open: anybody who reaches this server can read and\s+write/);
      for (const id of ['#who', '#sign-in', '#sign-out']) {
        assert.equal(await ada.page.locator(id).isVisible(), false);
      }
    }
    await ada.leave();
  } finally {
    assert.equal(await open.stop(), 0);
  }
});

test('a public page is read without scripts, in its own style, and nothing of it is blocked', LIMIT,
  async () => {
    const open = await Program.start();
    const reader = await browser.newContext({ javaScriptEnabled: false, colorScheme: 'light' });
    try {
      const site = `http://localhost:${open.port}`;
      const put = await fetch(`${site}/v1/docs/paper`, {
        method: 'PUT',
        headers: { 'content-type': 'text/plain' },
        body: '# On <b>tides</b>\n\nThe *moon*.\n\n<script>document.title = "Hers"</script>\n',
      });
      assert.ok(put.ok, `${put.status}`);
      const page = await reader.newPage();
      const said = [];
      page.on('console', (message) => said.push(message.text()));
      page.on('requestfailed', (request) => said.push(request.url()));
      await page.goto(`${site}/pub/paper`);
      assert.equal(await page.textContent('main h1'), 'On <b>tides</b>');
      assert.equal(await page.textContent('main em'), 'moon');
      assert.match(await page.title(), /^On <b>tides<\/b>/);
      assert.equal(await page.locator('main script, main b').count(), 0);
      const main = page.locator('main');
      const width = await main.evaluate((element) => getComputedStyle(element).maxWidth);
      assert.equal(width, '640px', 'its style sheet is used');
      // Whether a browser knows all that is turned off is its own affair.
      assert.deepEqual(said.filter((text) => !text.includes('Permissions-Policy')), []);
    } finally {
      await reader.close();
      assert.equal(await open.stop(), 0);
    }
  });

test('a name that somebody lets point here gets nothing of an open server', LIMIT, async () => {
  const open = await Program.start();
  const rebound = await launch('--host-resolver-rules=MAP evil.example 127.0.0.1');
  try {
    const ada = await Person.arrive(browser, open.port, { name: 'Ada' });
    await ada.open('rebound');
    await ada.atText();
    await ada.type('Hers.');
    await ada.badge('saved');
    // The script of that name's page is one of the server's own, as far as its browser knows.
    const mallory = await rebound.newPage({ bypassCSP: true });
    const tried = [];
    for (const host of ['evil.example', 'localhost']) {
      const target = `http://${host}:${open.port}`;
      const answer = await mallory.goto(`${target}/`);
      const { text, sockets } = await mallory.evaluate(reach, { target, doc: 'rebound' });
      tried.push([answer.status(), JSON.parse(text).text ?? JSON.parse(text).status, sockets[2]]);
      if (host !== 'localhost') await mallory.evaluate(forge, { target, doc: 'rebound' });
      assert.equal(await open.text('rebound'), 'Hers.');
    }
    assert.deepEqual(tried, [[403, 403, 1006], [200, 'Hers.', 'welcome']]);
    await ada.leave();
  } finally {
    await rebound.close();
    assert.equal(await open.stop(), 0);
  }
});
