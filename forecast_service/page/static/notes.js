// @ts-check
// A planner's own numbers and comments. Nothing is changed in place, so after each the page is loaded
// again.

import { newKey, post } from './api.js';

/**
 * Send a form once, however often its button is pressed, and say what is wrong beside it.
 * @param {HTMLFormElement} form
 * @param {(values: FormData) => [string, unknown]} request Returns the path and the body.
 */
function send(form, request) {
  let key = newKey();
  form.addEventListener('input', () => { key = newKey(); });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const problem = /** @type {HTMLElement} */ (form.querySelector('.problem'));
    const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
    button.disabled = true;
    problem.textContent = '';
    try {
      await post(...request(new FormData(form)), { key });
      location.reload();
    } catch (error) {
      problem.textContent = /** @type {Error} */ (error).message;
      button.disabled = false;
    }
  });
}

/** @param {number} store */
export function takeNotes(store) {
  const adjust = /** @type {HTMLFormElement | null} */ (document.querySelector('#adjust'));
  const comment = /** @type {HTMLFormElement | null} */ (document.querySelector('#comment'));
  if (adjust) {
    send(adjust, (values) => [
      '/v1/adjustments',
      {
        store,
        first_day: values.get('first_day'),
        last_day: values.get('last_day') || null,
        [String(values.get('kind'))]: Number(values.get('number')),
        reason: values.get('reason'),
        note: values.get('note'),
      },
    ]);
  }
  if (comment) {
    send(comment, (values) => ['/v1/comments', { store, date: values.get('date'), text: values.get('text') }]);
  }
  for (const button of document.querySelectorAll('button.withdraw')) {
    const { adjustment } = /** @type {HTMLElement} */ (button).dataset;
    button.addEventListener('click', async () => {
      /** @type {HTMLButtonElement} */ (button).disabled = true;
      try {
        await post(`/v1/adjustments/${adjustment}/withdrawal`, {});
        location.reload();
      } catch (error) {
        const problem = document.querySelector('#withdraw-problem');
        if (problem) problem.textContent = /** @type {Error} */ (error).message;
        /** @type {HTMLButtonElement} */ (button).disabled = false;
      }
    });
  }
}
