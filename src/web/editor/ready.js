/**
 * Makes what is disabled in the page's HTML usable. It is disabled there because a click, or a key,
 * that comes before the script which handles it would be lost; with `autocomplete="off"`, without
 * which Firefox has it enabled from the start where a page is loaded again.
 */
export function ready() {
  for (const control of document.querySelectorAll(':disabled')) control.disabled = false;
}
