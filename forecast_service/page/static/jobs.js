// @ts-check
// Jobs: a refresh, a retraining or an adopted plan, followed to their true end.

import { addressWith, jobId } from './address.js';
import { Problem, element, get, tellProblem } from './api.js';
import { change, day, number } from './locale.js';

/** Milliseconds between two looks at a job. */
const PAUSE = 1_500;
const NAMES = { refresh: 'The refresh', retrain: 'The retraining', plan: 'The adopted plan' };
/** Statuses of errors that pass: the service, its database or Dagster is away or busy. */
const PASSING = [0, 429, 502, 503];

/** @param {any} job */
function tell(job) {
  const name = /** @type {Record<string, string>} */ (NAMES)[job.action] ?? 'The job';
  const said = element('#job-said');
  // The service's own words, but for the field of an answer that they name.
  const detail = job.after && job.status === 'succeeded' ? 'its forecast is in force' : job.detail;
  const text = `${name}: ${job.status}. ${detail[0].toUpperCase()}${detail.slice(1)}.`;
  if (said.textContent === text) return;
  said.textContent = text;
  said.classList.toggle('bad', job.done && job.status !== 'succeeded');
  said.classList.toggle('good', job.status === 'succeeded');
}

/**
 * Show the forecast before and after, side by side.
 * @param {any} job
 */
function compare(job) {
  const box = element('#job-numbers');
  box.replaceChildren();
  if (job.link && job.status !== 'succeeded') {
    const link = document.createElement('a');
    link.href = job.link;
    link.textContent = 'The run in Dagster';
    box.append(link);
  }
  if (!job.before || !job.after) return;
  const after = new Map(job.after.days.map((/** @type {any} */ row) => [row.date, row]));
  const rows = job.before.days.filter((/** @type {any} */ row) => after.has(row.date));
  /** @param {(row: any) => number} value */
  const total = (value) => rows.reduce((/** @type {number} */ sum, /** @type {any} */ row) => sum + value(row), 0);
  // As everywhere, totals add up expected sales; the days below are forecasts.
  const before = total((row) => row.mean);
  const now = total((row) => after.get(row.date).mean);
  const summary = document.createElement('summary');
  summary.textContent =
    `Expected sales before ${number(before)}, after ${number(now)}: ${change(now - before)} over ` +
    `${rows.length === 1 ? '1 day' : `${rows.length} days`}` +
    (job.before.model_version === job.after.model_version ? ', by the same model.' : ', by a new model.');
  const table = document.createElement('table');
  const head = table.createTHead().insertRow();
  for (const name of ['Day', 'Before', 'After', 'Change']) {
    const cell = document.createElement('th');
    cell.scope = 'col';
    cell.textContent = name;
    if (name !== 'Day') cell.className = 'n';
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    const title = document.createElement('th');
    title.scope = 'row';
    title.textContent = day(row.date);
    line.append(title);
    const values = [number(row.point), number(after.get(row.date).point), change(after.get(row.date).point - row.point)];
    for (const value of values) {
      const cell = line.insertCell();
      cell.className = 'n';
      cell.textContent = value;
    }
  }
  const scroll = document.createElement('div');
  scroll.className = 'scroll tall';
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', 'Forecast before and after');
  scroll.append(table);
  const details = document.createElement('details');
  details.append(summary, scroll);
  box.append(details);
}

/**
 * Follow a job until it ends. Its id is in the page's address, so a reloaded page goes on.
 *
 * When it ends while the page is open, the page is loaded again: its numbers are new then.
 * @param {any} job What the service answered; null to look at the one in the address.
 */
export async function follow(job) {
  const id = job?.job_id ?? jobId();
  if (!id) return;
  element('#job').hidden = false;
  if (job) history.replaceState(null, '', addressWith(location.href, { job: id }));
  element('#job').scrollIntoView({ block: 'nearest' });
  // The button that was pressed is disabled now and would leave the focus nowhere.
  if (job) element('#job-said').focus({ preventScroll: true });
  let waited = false;
  let current = job;
  for (;;) {
    try {
      current ??= await get(`/v1/jobs/${encodeURIComponent(id)}`);
    } catch (error) {
      const problem = /** @type {Problem} */ (error);
      tellProblem(element('#job-said'), problem);
      if (!PASSING.includes(problem.status)) return;
    }
    if (current) {
      tell(current);
      if (current.done) break;
    }
    current = null;
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  if (waited && current.status === 'succeeded') {
    const adopted = current.action === 'plan' ? { plan: new Map() } : {};
    location.replace(addressWith(location.href, { ...adopted, job: id }));
    return;
  }
  compare(current);
}
