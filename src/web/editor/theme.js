/** The look of the text. Its colours are the page's custom properties, so dark follows. */

import { EditorView } from '@codemirror/view';

export const theme = EditorView.theme({
  '&': { height: '100%', color: 'var(--ink)', backgroundColor: 'var(--paper)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': {
    fontFamily: 'var(--text-face)', fontSize: 'var(--text-size)', lineHeight: '1.7',
    overflowX: 'hidden',
  },
  '.cm-content': { padding: '3rem 0 45vh', caretColor: 'var(--ink)' },
  '.cm-line': { padding: '0 max(1.5rem, calc((100% - 41rem) / 2))' },
  '.cm-placeholder': { color: 'var(--faint)', fontStyle: 'italic' },
  '.cm-cursor, .cm-dropCursor': { borderLeft: '2px solid var(--accent)', marginLeft: '-1px' },
  '& > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    background: 'var(--selection-quiet)',
  },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    background: 'var(--selection)',
  },
  '.cm-specialChar': { color: 'var(--warn)' },
  '.cm-searchMatch': { backgroundColor: 'var(--found)', borderRadius: '2px' },
  '.cm-searchMatch-selected': { backgroundColor: 'var(--found-now)' },
  '.cm-selectionMatch': { backgroundColor: 'transparent' },

  '.cm-panels': {
    color: 'var(--ink)', backgroundColor: 'var(--raised)', fontFamily: 'var(--face)',
  },
  '.cm-panels.cm-panels-top': { borderBottom: '1px solid var(--line)' },
  '.cm-panel.cm-search': { padding: '0.5rem 2.5rem 0.5rem 1rem', fontSize: '0.875rem' },
  '.cm-panel.cm-search label': { fontSize: '0.8125rem' },
  '.cm-textfield': {
    font: 'inherit', fontSize: '0.875rem', color: 'var(--ink)', backgroundColor: 'var(--paper)',
    border: '1px solid var(--line)', borderRadius: '6px', padding: '0.3em 0.6em',
  },
  '.cm-panels :focus-visible': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
  '.cm-button': {
    font: 'inherit', fontSize: '0.8125rem', color: 'var(--ink)', background: 'var(--paper)',
    border: '1px solid var(--line)', borderRadius: '6px', padding: '0.3em 0.7em',
  },
  '.cm-panel.cm-search [name=close]': { color: 'var(--muted)', fontSize: '1.25rem', right: '1rem' },

  '.q-caret': {
    position: 'relative', borderLeft: '2px solid var(--who)', margin: '0 -1px', padding: '0',
  },
  '.q-caret::before': {
    content: '""', position: 'absolute', left: '-4px', top: '-3px', width: '6px', height: '6px',
    borderRadius: '50%', background: 'var(--who)',
  },
  '.q-flag': {
    position: 'absolute', left: '-2px', bottom: '100%', padding: '0.15em 0.55em',
    borderRadius: '5px 5px 5px 0', background: 'var(--who)', color: 'var(--on-who)',
    font: '600 0.6875rem/1.5 var(--face)', whiteSpace: 'nowrap', maxWidth: '14em',
    overflow: 'hidden', textOverflow: 'ellipsis', pointerEvents: 'none', userSelect: 'none',
    zIndex: '2', animation: 'q-flag 6s ease forwards',
  },
  '.q-caret:hover .q-flag': { animation: 'none', opacity: '1' },
  '@keyframes q-flag': { '0%, 80%': { opacity: '1' }, '100%': { opacity: '0' } },
  '@media (prefers-reduced-motion: reduce)': { '.q-flag': { animation: 'none' } },
  '.q-range': { backgroundColor: 'color-mix(in srgb, var(--who) 22%, transparent)' },
});
