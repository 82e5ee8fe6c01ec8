/**
 * The pages in a real browser, against the real server: `QUIRE_BIN` names it. With
 * `QUIRE_SCREENSHOT=1` the picture in docs/ is taken anew.
 */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { Program } from './browser/program.mjs';
import { Person, launch } from './browser/window.mjs';

const [ADA, BEN] = [{ name: 'Ada', color: '#2f6fb5' }, { name: 'Ben', color: '#2e7d4f' }];

const NOTES = [
  'Field notes, river walk',
  'Met at the old mill at half past five; mist on the water, no wind. Two kingfishers below the '
    + 'bridge, one with a fish. The path is under water past the second gate, so we went round by '
    + 'the orchard.',
  'To bring next time: boots, the long lens, something hot to drink.',
  '',
].join('\n\n');

let [program, browser] = [];

before(async () => {
  [program, browser] = await Promise.all([Program.start(), launch()]);
});

after(async () => {
  await Person.dismissAll();
  await browser?.close();
  if (program) assert.equal(await program.stop(), 0, 'the server ends in order');
});

/** Brings people to one document, and in the end checks that all of them and the server agree. */
function together(name, doc, people, act) {
  test(name, { timeout: 90_000 }, async () => {
    const present = await Promise.all(people.map(
      (options) => Person.arrive(browser, program.port, options)));
    for (const person of present) await person.open(doc);
    await act(...present);
    for (const person of present) await person.badge('saved');
    const text = await program.text(doc);
    for (const person of present) {
      await person.reads(text);
      assert.deepEqual(await person.drawn(), text.split('\n'), 'what is drawn is the text');
    }
    for (const person of present) await person.leave();
  });
}

together('two people type at once and read the same', 'at-once', [ADA, BEN], async (ada, ben) => {
  await ada.type('First line.\nLast line.');
  await ben.sees('Last line.');
  await ben.press('Control+Home');
  await Promise.all([ada.type(' Ada writes on 😀.'), ben.type('Ben begins: ')]);
  await ada.sees('Ben begins: First line.');
  await ben.sees('Last line. Ada writes on 😀.');
});

together('what is typed while offline arrives on return', 'offline', [ADA, BEN],
  async (ada, ben) => {
    await ada.type('Together.\n');
    await ben.sees('Together.\n');
    ben.line.cut();
    assert.equal(await ben.badge('offline'), 'Offline');
    await ben.press('Control+End');
    await ben.type('Ben, in a tunnel. ');
    assert.equal(await ben.badge('offline'), 'Offline · 18 unsaved characters');
    await ada.type('Ada, at home. ');
    assert.equal(await ada.badge('saved'), 'Saved');
    assert.equal(await ada.text(), 'Together.\nAda, at home. ');
    assert.equal(await ben.text(), 'Together.\nBen, in a tunnel. ');
    ben.line.mend();
    await ada.sees('Ben, in a tunnel. ');
    await ben.sees('Ada, at home. ');
  });

together('a server that dies and comes back is only waited for', 'restart', [ADA, BEN],
  async (ada, ben) => {
    await ada.type('Before. ');
    await ben.sees('Before. ');
    await program.kill();
    await ada.type('Meanwhile. ');
    assert.equal(await ada.badge('offline'), 'Offline · 11 unsaved characters');
    await program.again();
    await ben.sees('Before. Meanwhile. ');
    await ada.type('After.');
    await ben.reads('Before. Meanwhile. After.');
  });

together('a key is saving until the server has it', 'saving', [ADA], async (ada) => {
  await ada.page.evaluate(() => {
    const seen = [];
    const badge = document.getElementById('badge');
    const note = () => seen.push(badge.dataset.state);
    new MutationObserver(note).observe(badge, { attributeFilter: ['data-state'] });
    window.seenStates = seen;
  });
  await ada.type('abc');
  await ada.badge('saved');
  await ada.page.waitForFunction(() => window.seenStates.length >= 2);
  assert.deepEqual([...new Set(await ada.page.evaluate(() => window.seenStates))],
    ['saving', 'saved']);
});

together('undo takes back own edits only', 'undo', [ADA, BEN], async (ada, ben) => {
  await ada.type('one ');
  await ben.sees('one ');
  await ben.press('Control+End');
  await ben.type('two ');
  await ada.sees('one two ');
  await ada.press('Control+End');
  await ada.type('three');
  await ben.sees('one two three');
  await ada.press('Control+z');
  await ben.reads('one two ');
  await ada.press('Control+z');
  await ben.reads('two ');
  await ada.press('Control+z');
  await ada.press('Control+y');
  await ben.reads('one two ');
  await ben.press('Control+z');
  await ada.reads('one ');
});

together('carets carry names and colours', 'carets', [ADA, BEN], async (ada, ben) => {
  await ada.type('Where is everyone?');
  await ben.sees('everyone?');
  await ben.page.bringToFront();
  await ben.page.locator('.cm-content').focus();
  await ben.press('Control+Home');
  for (let step = 0; step < 5; step += 1) await ben.press('Shift+ArrowRight');
  await ada.carets('Ben');
  await ada.page.waitForFunction(() => document.querySelector('quire-editor').shadowRoot
    .querySelector('.q-range')?.textContent.includes('Where'));
  const color = await ada.page.locator('.q-flag').evaluate(
    (flag) => getComputedStyle(flag).backgroundColor);
  assert.equal(color, 'rgb(46, 125, 79)');
  assert.deepEqual(await ada.page.locator('#people button').allTextContents(), ['B']);
  const label = await ada.page.locator('#people button').getAttribute('aria-label');
  assert.equal(label, 'Go to Ben');
  await ada.page.locator('.cm-content').focus();
  await ada.press('Control+End');
  await ben.carets('Ada');
});

together('emoji and CR LF keep their lengths', 'widths', [ADA, BEN], async (ada, ben) => {
  await ada.page.keyboard.insertText('👩‍👩‍👧 a\n😀😀');
  await ben.sees('😀😀');
  await ben.press('Control+End');
  await ben.press('Backspace');
  await ada.reads('👩‍👩‍👧 a\n😀');
  await ada.page.evaluate(() => {
    const data = new DataTransfer();
    data.setData('text/plain', 'x\r\ny');
    const target = document.querySelector('quire-editor').shadowRoot.querySelector('.cm-content');
    target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
  });
  await ben.reads('👩‍👩‍👧 a\n😀x\ny');
});

test('someone new is asked for a name, once', async () => {
  const [ada, guest] = [await Person.arrive(browser, program.port, ADA),
    await Person.arrive(browser, program.port)];
  await ada.open('names');
  await ada.type('Welcome');
  await guest.open('names');
  await guest.page.fill('#person-name', 'Grace Hopper');
  await guest.press('Enter');
  await guest.atText();
  await guest.type('Thanks. ');
  await ada.sees('Thanks. Welcome');
  await ada.carets('Grace Hopper');
  assert.equal(await guest.page.textContent('#me-name'), 'Grace Hopper');
  await guest.page.reload();
  await guest.badge('saved');
  assert.equal(await guest.page.locator('#person').isVisible(), false);
  const stored = await guest.page.evaluate(() => Object.keys(localStorage).sort());
  assert.deepEqual(stored, ['quire.person', 'quire.recent']);
  await ada.leave();
  await guest.leave();
});

test('a reader sees everything and changes nothing', async () => {
  const [ada, ben] = [await Person.arrive(browser, program.port, ADA),
    await Person.arrive(browser, program.port, BEN)];
  await ada.open('reading');
  await ada.type('Read ');
  await ada.badge('saved');
  await ben.open('reading?view');
  assert.equal(await ben.badge('saved'), 'Read only');
  await ada.type('this');
  await ben.reads('Read this');
  await ben.type('nonsense');
  await ada.type('.');
  await ben.reads('Read this.');
  assert.equal(await program.text('reading'), 'Read this.');
  await ada.leave();
  await ben.leave();
});

const STOPS = [
  [4400, 'The server did not understand this page', ['Copy text', 'Reload']],
  [4403, 'You may not open this document', ['Try again', 'Copy text', 'All documents']],
  [4404, 'This document does not exist', ['Try again', 'Copy text', 'All documents']],
  [4409, 'The server misses an earlier change from this page', ['Copy text', 'Reload']],
  [4410, 'This page was continued elsewhere', ['Try again', 'Copy text']],
  [4413, 'That is more than the server takes', ['Copy text', 'Reload']],
  [4426, 'This page is older than the server', ['Copy text', 'Reload']],
];

test('a permanent refusal says what to do next and keeps the text', async () => {
  for (const [code, title, actions] of STOPS) {
    const ada = await Person.arrive(browser, program.port, ADA);
    let refuse;
    await ada.page.routeWebSocket(/\/ws\//, (socket) => {
      const server = socket.connectToServer();
      refuse = () => {
        socket.close({ code, reason: 'in its own words' });
        server.close();
      };
    });
    await ada.open(`refused-${code}`);
    await ada.type('kept');
    await ada.badge('saved');
    refuse();
    await ada.badge('stopped');
    const banner = ada.page.locator('#banner');
    assert.equal(await banner.locator('h2').textContent(), title);
    assert.deepEqual(await banner.locator('button').allTextContents(), actions);
    assert.match(await banner.textContent(), /in its own words/);
    await ada.type('never');
    assert.equal(await ada.text(), 'kept');
    if (actions.includes('Try again')) {
      await banner.getByRole('button', { name: 'Try again' }).click();
      await ada.badge('saved');
      assert.equal(await banner.isVisible(), false);
    }
    await ada.leave();
  }
});

test('leaving with unsaved text is asked about', async () => {
  const ada = await Person.arrive(browser, program.port, ADA);
  await ada.open('leaving');
  ada.line.cut();
  await ada.type('not yet');
  await ada.badge('offline');
  const asked = ada.page.waitForEvent('dialog');
  await ada.page.close({ runBeforeUnload: true });
  const dialog = await asked;
  assert.equal(dialog.type(), 'beforeunload');
  await dialog.accept();
  await ada.leave();
});

test('the first page makes documents and remembers them', async () => {
  const ada = await Person.arrive(browser, program.port, { ...ADA, colorScheme: 'dark' });
  await ada.page.goto(ada.line.url);
  const paper = () => ada.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await paper();
  await ada.page.emulateMedia({ colorScheme: 'light' });
  assert.notEqual(await paper(), dark);
  assert.equal(await ada.page.locator('#recent').isVisible(), false);
  await ada.page.click('#new');
  await ada.badge('saved');
  const doc = new URL(ada.page.url()).pathname.slice('/d/'.length);
  assert.match(doc, /^[a-z]+-[a-z]+-[a-z2-9]{8}$/);
  assert.equal(await ada.page.textContent('#name'), doc);
  await ada.type('x');
  await ada.badge('saved');
  await ada.page.click('.mark');
  assert.deepEqual(await ada.page.locator('.doc-name').allTextContents(), [doc]);
  await ada.page.fill('#open-name', 'no spaces');
  await ada.press('Enter');
  assert.equal(await ada.page.locator('#open-error').isVisible(), true);
  await ada.page.click('.remove');
  assert.equal(await ada.page.locator('#recent').isVisible(), false);
  await ada.page.fill('#open-name', doc);
  await ada.press('Enter');
  await ada.badge('saved');
  await ada.reads('x');
  await ada.leave();
});

if (process.env.QUIRE_SCREENSHOT === '1') {
  test('the picture of the editor is taken', async () => {
    const looks = { viewport: { width: 660, height: 620 }, reducedMotion: 'reduce' };
    const ada = await Person.arrive(browser, program.port, { ...ADA, ...looks });
    const ben = await Person.arrive(browser, program.port,
      { ...BEN, ...looks, colorScheme: 'dark' });
    for (const person of [ada, ben]) await person.open('field-notes');
    await ada.type(NOTES);
    await ben.sees(NOTES);
    await ben.page.locator('.cm-content').focus();
    await ben.press('Control+End');
    await ben.type('Herons at the weir since six');
    await ada.sees('since six');
    await ada.page.locator('.cm-content').focus();
    await ada.press('Control+Home');
    await ada.press('End');
    await ben.carets('Ada');
    await ada.carets('Ben');
    const pictures = [];
    for (const person of [ada, ben]) {
      await person.badge('saved');
      await person.page.bringToFront();
      pictures.push((await person.page.screenshot()).toString('base64'));
    }
    const page = await browser.newPage({ viewport: { width: 1440, height: 740 } });
    await page.setContent(`<style>
      body { margin: 0; display: flex; gap: 40px; padding: 60px 40px; background: #e9e4da; }
      img { border-radius: 12px; box-shadow: 0 18px 50px rgb(40 30 20 / 28%); }
    </style>${pictures.map((data) => `<img src="data:image/png;base64,${data}">`).join('')}`);
    const picture = await page.screenshot();
    await writeFile(new URL('../../docs/editor.png', import.meta.url), picture);
    await page.close();
    await ada.leave();
    await ben.leave();
  });
}
