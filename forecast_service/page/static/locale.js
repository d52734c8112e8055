// @ts-check
// Numbers and days in the browser's locale. The server writes them in English; `data-number` and
// `datetime` hold the values.

/** As in the server's sentences; a hyphen is too short beside a plus. */
const MINUS = '\u2212';
const LANGUAGES = [...navigator.languages];
const whole = new Intl.NumberFormat(LANGUAGES, { maximumFractionDigits: 0 });
const signed = new Intl.NumberFormat(LANGUAGES, {
  maximumFractionDigits: 0,
  signDisplay: 'exceptZero',
});
const share = new Intl.NumberFormat(LANGUAGES, { style: 'percent', maximumFractionDigits: 1 });
const weekday = new Intl.DateTimeFormat(LANGUAGES, {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  timeZone: 'UTC',
});
const moment = new Intl.DateTimeFormat(LANGUAGES, { dateStyle: 'medium', timeStyle: 'short' });

/** @param {number | null} value */
export const number = (value) => (value === null ? '–' : whole.format(value));

/** @param {number | null} value */
export const change = (value) => (value === null ? '–' : signed.format(value).replace('-', MINUS));

/** @param {number} value A share: 0.1 is ten per cent. */
export const percent = (value) => share.format(value);

/** @param {string} iso A day like 2015-06-19. */
export const day = (iso) => weekday.format(new Date(`${iso}T00:00:00Z`));

/** @param {string} iso A time. */
export const time = (iso) => moment.format(new Date(iso));

/**
 * Rewrite the numbers and days of a part of the page.
 *
 * `<td data-number="1234.5">`, with `data-signed` for a change; `<time datetime="2015-06-19">`.
 * @param {ParentNode} root
 */
export function localize(root) {
  for (const element of root.querySelectorAll('[data-number]')) {
    const { number: text, signed: sign } = /** @type {HTMLElement} */ (element).dataset;
    if (text) element.textContent = (sign === undefined ? number : change)(Number(text));
  }
  for (const element of root.querySelectorAll('time[datetime]')) {
    const iso = /** @type {HTMLTimeElement} */ (element).dateTime;
    element.textContent = iso.length > 10 ? time(iso) : day(iso);
  }
}
