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
const ONE_DIGIT = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
const tenths = new Intl.NumberFormat(LANGUAGES, ONE_DIGIT);
const signedTenths = new Intl.NumberFormat(LANGUAGES, { ...ONE_DIGIT, signDisplay: 'exceptZero' });
/** @type {Intl.DateTimeFormatOptions} */
const DAY = { weekday: 'short', day: 'numeric', month: 'short', timeZone: 'UTC' };
const weekday = new Intl.DateTimeFormat(LANGUAGES, DAY);
const weekdayOfYear = new Intl.DateTimeFormat(LANGUAGES, { ...DAY, year: 'numeric' });
const moment = new Intl.DateTimeFormat(LANGUAGES, { dateStyle: 'medium', timeStyle: 'short' });

/** @param {number | null} value */
export const number = (value) => (value === null ? '–' : whole.format(value));

/** @param {number | null} value */
export const change = (value) => (value === null ? '–' : signed.format(value).replace('-', MINUS));

/**
 * A percentage as the server writes it: one digit, and one space in every language.
 * @param {number} value A share: 0.1 is ten per cent.
 * @param {boolean} [isChange] Whether it has a sign.
 */
export const percent = (value, isChange = false) =>
  `${(isChange ? signedTenths : tenths).format(100 * value).replace('-', MINUS)}\u00a0%`;

/**
 * A day, with its year unless that is the page's own.
 * @param {string} iso A day like 2015-06-19.
 */
export const day = (iso) =>
  (iso.startsWith(`${document.documentElement.dataset.year}-`) ? weekday : weekdayOfYear).format(
    new Date(`${iso}T00:00:00Z`),
  );

/** A number in a sentence of the server's: 9,000 or 10.4 or 1,234.5, but no part of a longer word. */
const WRITTEN = /(?<![\p{L}\d.,:/-])(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+)(?![\p{L}\d:/-]|[.,]\d)/gu;

/**
 * Write the numbers of an English sentence in the browser's locale.
 * @param {string} text
 */
export const sentence = (text) =>
  text.replace(WRITTEN, (written) => {
    const digits = written.split('.')[1]?.length ?? 0;
    const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(LANGUAGES, format).format(Number(written.replaceAll(',', '')));
  });

/** @param {string} iso A time. */
export const time = (iso) => moment.format(new Date(iso));

/**
 * Rewrite the numbers and days of a part of the page.
 *
 * `<td data-number="1234.5">`, `<td data-share="0.1">`, with `data-signed` for a change;
 * `<time datetime="2015-06-19">`; `<p data-sentence>` for what the server has written in words.
 * @param {ParentNode} root
 */
export function localize(root) {
  for (const element of root.querySelectorAll('[data-number]')) {
    const { number: text, signed: sign } = /** @type {HTMLElement} */ (element).dataset;
    if (text) element.textContent = (sign === undefined ? number : change)(Number(text));
  }
  for (const element of root.querySelectorAll('[data-share]')) {
    const { share: text, signed: sign } = /** @type {HTMLElement} */ (element).dataset;
    if (text) element.textContent = percent(Number(text), sign !== undefined);
  }
  for (const element of root.querySelectorAll('[data-sentence]')) {
    // A sentence says nothing of its values: what is written anew must not be read again.
    element.removeAttribute('data-sentence');
    element.textContent = sentence(element.textContent ?? '');
  }
  for (const element of root.querySelectorAll('time[datetime]')) {
    const iso = /** @type {HTMLTimeElement} */ (element).dateTime;
    element.textContent = iso.length > 10 ? time(iso) : day(iso);
  }
}
