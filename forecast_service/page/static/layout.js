// @ts-check
// What every page does: numbers and days in the browser's locale, and what is wrong at its top.

import { localize } from './locale.js';

/** Milliseconds between two looks at the service's health. */
const HEALTH_EVERY = 60_000;

/** What the checks of `/health/ready` are called here; the server has said the others itself. */
const SERVERS = {
  dagster: 'Dagster, which refreshes and retrains,',
  mlflow: 'MLflow, which keeps the models’ records,',
};

/**
 * Say which servers are away; take back what is over.
 * @param {HTMLElement} box
 * @param {string[]} said What is wrong.
 */
function tell(box, said) {
  const shown = [...box.querySelectorAll('p[data-live]')];
  if (shown.map((line) => line.textContent).join('\n') === said.join('\n')) return;
  shown.forEach((line) => line.remove());
  for (const text of said) {
    const line = document.createElement('p');
    line.dataset.live = '';
    line.textContent = text;
    box.append(line);
  }
}

/** When the newest refresh had ended as this page was loaded. */
let known = '';

/** @param {HTMLElement} box */
async function watch(box) {
  const said = [];
  try {
    const answer = await fetch(/** @type {string} */ (box.dataset.health));
    const { checks, refreshed_at: refreshed = '' } = await answer.json();
    known ||= refreshed;
    if (refreshed && refreshed !== known) {
      said.push('Forecasts have been refreshed since this page was loaded. Load it again to see them.');
    }
    for (const [name, words] of Object.entries(SERVERS)) {
      const state = checks[name];
      if (state !== 'ok' && state !== 'not configured') said.push(`${words} ${state}.`);
    }
  } catch {
    said.push('The service does not answer, so this page is as old as when it was loaded.');
  }
  tell(box, said);
}

localize(document.body);
const notices = document.getElementById('notices');
if (notices?.dataset.health) {
  watch(notices);
  setInterval(() => document.hidden || watch(notices), HEALTH_EVERY);
}
