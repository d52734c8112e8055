// @ts-check
// The page of a store: chart, what if, reasons, changes, notes and jobs.

import { addressWith, readPlan } from './address.js';
import { Problem, element, post, sessionEnded, tellProblem } from './api.js';
import { Chart } from './chart.js';
import { follow } from './jobs.js';
import { localize } from './locale.js';
import { takeNotes } from './notes.js';
import { WhatIf } from './what_if.js';

const data = JSON.parse(element('#data').textContent ?? '');

/**
 * Load a part of the page from its own address.
 * @param {HTMLElement} section
 * @param {string} address A page that has the part as `#<id>-content`.
 */
async function load(section, address) {
  section.setAttribute('aria-busy', 'true');
  try {
    const answer = await fetch(address);
    if (answer.redirected && new URL(answer.url).pathname === '/sign-in') throw sessionEnded();
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const part = page.querySelector(`#${section.id}-content`) ?? page.querySelector('main');
    if (!part) throw new Error('there is no content');
    localize(part);
    section.replaceChildren(...part.childNodes);
  } catch (error) {
    if (error instanceof Problem) tellProblem(section, error);
    else section.textContent = 'This part could not be loaded. Try again shortly.';
  }
  section.removeAttribute('aria-busy');
}

/**
 * Start a run by a button, and follow it.
 * @param {string} action
 */
function start(action) {
  const button = /** @type {HTMLButtonElement | null} */ (document.querySelector(`#${action}`));
  button?.addEventListener('click', async () => {
    button.disabled = true;
    try {
      // Without a key: whoever presses while a training is under way joins it.
      await follow(await post(`/v1/stores/${data.store}/${action}`));
    } catch (error) {
      element('#job').hidden = false;
      tellProblem(element('#job-said'), error);
      element('#job-said').classList.add('bad');
      element('#job-said').focus();
    }
    button.disabled = false;
  });
}

const chart = new Chart(
  element('#chart'),
  element('#readout'),
  [...data.past, ...data.future],
  data.past.length,
  data.lead,
  data.origin,
);
new WhatIf(data.store, data.future, chart, follow);
takeNotes(data.store);
start('refresh');
start('retrain');
// Only now does anything listen: before, a press would be lost, or a form sent to the page's address.
for (const part of document.querySelectorAll('fieldset.scripted')) {
  /** @type {HTMLFieldSetElement} */ (part).disabled = false;
}
follow(null);

const why = element('#why');
const changes = element('#changes');
document.addEventListener('click', async (event) => {
  const link = /** @type {HTMLElement} */ (event.target).closest('a');
  // The same page with another history keeps the plan that is being tried.
  if (link?.pathname === location.pathname) link.href = addressWith(link.href, { plan: readPlan(location.search).plan });
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const section = link.matches('.why') ? why : changes.contains(link) ? changes : null;
  if (!section || new URL(link.href).origin !== location.origin) return;
  event.preventDefault();
  await load(section, link.href);
  section.scrollIntoView({ block: 'nearest' });
});
load(changes, /** @type {string} */ (changes.dataset.address));
