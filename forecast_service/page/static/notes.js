// @ts-check
// A planner's own numbers and comments. Nothing is changed in place, so after each the page is loaded
// again; it then says what was done. What cannot be stored stays in the form.

import { newKey, post, tellProblem } from './api.js';
import { day, number } from './locale.js';

/** Where the message waits while the page is loaded again. */
const DONE = 'notes-done';

/** Field of the API -> the name of the form's field, where they differ. */
const FIELDS = /** @type {Record<string, string>} */ ({
  value: 'number', percent: 'number', expires_at: 'expires', body: 'last_day',
});

const DAY = /^\d{4}-\d{2}-\d{2}$/;

/**
 * Name a field by its label, and say what it may hold.
 * @param {HTMLFormElement} form
 * @param {import('./api.js').FieldError} error
 */
function inWords(form, { field, message, bounds = {} }) {
  const last = field.split('.').at(-1) ?? '';
  const control = form.elements.namedItem(FIELDS[last] ?? last);
  if (!(control instanceof HTMLInputElement || control instanceof HTMLSelectElement)) return `${message}.`;
  const label = control.labels?.[0]?.textContent ?? '';
  const unit = last === 'percent' ? '\u00a0%' : '';
  /** @type {string} */
  let expected;
  const [earliest, latest] = [bounds.ge, bounds.le].map((bound) => (DAY.test(String(bound)) ? day(bound) : ''));
  if (earliest) expected = `must be ${earliest} or later`;
  else if (latest) expected = `must be ${latest} or earlier`;
  else if (typeof bounds.ge === 'number') expected = `must be ${number(bounds.ge)}${unit} or more`;
  else if (typeof bounds.le === 'number') expected = `must be ${number(bounds.le)}${unit} or less`;
  else if (typeof bounds.lt === 'number') expected = `must be less than ${number(bounds.lt)}${unit}`;
  else if (last === 'expires_at') expected = 'must not be past';
  else if (last === 'body') expected = 'must be empty, or the first day or one of the 366 after it';
  else if (bounds.max_length !== undefined) expected = `must have ${number(Number(bounds.max_length))} characters at most`;
  else if (bounds.min_length !== undefined) expected = 'must not be empty';
  else expected = `is not right: ${message}`;
  control.setAttribute('aria-invalid', 'true');
  return `${label} ${expected}.`;
}

/**
 * Load the page again, and say there what was done.
 * @param {string} text
 */
function done(text) {
  sessionStorage.setItem(DONE, text);
  location.reload();
}

/** Say what was done before the page was loaded again, and put the focus there. */
function tellDone() {
  const text = sessionStorage.getItem(DONE);
  const said = document.getElementById('notes-said');
  sessionStorage.removeItem(DONE);
  if (!text || !said) return;
  said.textContent = text;
  said.focus();
}

/**
 * Send a form once, however often its button is pressed, and say what is wrong beside it.
 * @param {HTMLFormElement} form
 * @param {string} success What to say when it is stored.
 * @param {(values: FormData) => [string, unknown]} request Returns the path and the body.
 */
function send(form, success, request) {
  let key = newKey();
  form.addEventListener('input', () => { key = newKey(); });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const problem = /** @type {HTMLElement} */ (form.querySelector('.problem'));
    const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
    button.disabled = true;
    problem.textContent = '';
    form.querySelectorAll('[aria-invalid]').forEach((control) => control.removeAttribute('aria-invalid'));
    try {
      await post(...request(new FormData(form)), { key });
      done(success);
    } catch (error) {
      const { errors = [] } = /** @type {import('./api.js').Problem} */ (error);
      if (errors.length) problem.textContent = errors.map((entry) => inWords(form, entry)).join(' ');
      else tellProblem(problem, error);
      button.disabled = false;
      button.focus();
    }
  });
}

/**
 * The end of a day where the planner is; null without a day.
 * @param {FormDataEntryValue | null} day
 */
const endOf = (day) => (day ? new Date(`${day}T23:59:59`).toISOString() : null);

/** @param {HTMLFormElement} form @param {number} store */
function takeAdjustments(form, store) {
  const now = new Date();
  const today = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, '0'));
  /** @type {HTMLInputElement} */ (form.elements.namedItem('expires')).min = today.join('-');
  send(form, 'Your adjustment is stored. The table shows it beside the forecast.', (values) => [
    '/v1/adjustments',
    {
      store,
      first_day: values.get('first_day'),
      last_day: values.get('last_day') || null,
      [String(values.get('kind'))]: Number(values.get('number')),
      reason: values.get('reason'),
      note: values.get('note'),
      expires_at: endOf(values.get('expires')),
    },
  ]);
}

/** @param {number} store */
export function takeNotes(store) {
  const adjust = /** @type {HTMLFormElement | null} */ (document.querySelector('#adjust'));
  const comment = /** @type {HTMLFormElement | null} */ (document.querySelector('#comment'));
  if (adjust) takeAdjustments(adjust, store);
  if (comment) {
    send(comment, 'Your comment is stored. It stands beside its day.', (values) => [
      '/v1/comments', { store, date: values.get('date'), text: values.get('text') },
    ]);
  }
  for (const button of document.querySelectorAll('button.withdraw')) {
    const { adjustment } = /** @type {HTMLElement} */ (button).dataset;
    button.addEventListener('click', async () => {
      /** @type {HTMLButtonElement} */ (button).disabled = true;
      try {
        await post(`/v1/adjustments/${adjustment}/withdrawal`, {});
        done('The adjustment is withdrawn. The model’s number counts again.');
      } catch (error) {
        const problem = document.getElementById('withdraw-problem');
        if (problem) tellProblem(problem, error);
        /** @type {HTMLButtonElement} */ (button).disabled = false;
        /** @type {HTMLButtonElement} */ (button).focus();
      }
    });
  }
  tellDone();
}
