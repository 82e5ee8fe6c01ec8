/**
 * The colours of people. A page under a strict content policy has no inline styles, so each
 * colour becomes a class in a style sheet made here.
 */

/** Each carries white text, on paper and in the dark. */
export const PALETTE = ['#c2413b', '#ad5a06', '#6a7500', '#2e7d4f', '#0f7b83', '#2f6fb5', '#6a56c8',
  '#a8448f'];

export class Colors {
  sheet = new CSSStyleSheet();
  #known = new Set();

  /** Returns the class that sets `--who` and `--on-who` for a colour anyone may have chosen. */
  className(color) {
    const hex = /^#[0-9a-f]{6}$/i.test(color) ? color.slice(1).toLowerCase() : fallback(color);
    if (!this.#known.has(hex)) {
      this.#known.add(hex);
      const on = luminance(hex) > 0.3 ? '#1d1b17' : '#ffffff';
      this.sheet.insertRule(`.who-${hex} { --who: #${hex}; --on-who: ${on}; }`);
    }
    return `who-${hex}`;
  }
}

function fallback(text) {
  const sum = [...text].reduce((total, char) => total + char.codePointAt(0), 0);
  return PALETTE[sum % PALETTE.length].slice(1);
}

function luminance(hex) {
  const [red, green, blue] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
