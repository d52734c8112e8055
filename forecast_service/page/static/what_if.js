// @ts-check
// What if: a changed plan in the table, what the model expects under it, adopting and discarding it.

import { addressWith, readPlan } from './address.js';
import { element, newKey, post, tellProblem } from './api.js';
import { change, day, number } from './locale.js';

/** Milliseconds to wait for a further change before asking. */
const PAUSE = 40;

export class WhatIf {
  /**
   * @param {number} store
   * @param {any[]} days The future days.
   * @param {import('./chart.js').Chart} chart
   * @param {(job: any) => void} follow Takes the job of an adopted plan.
   */
  constructor(store, days, chart, follow) {
    this.store = store;
    this.chart = chart;
    this.follow = follow;
    this.base = new Map(days.map((row) => [row.date, row]));
    const { plan, unread } = readPlan(location.search);
    this.plan = this.known(plan);
    this.key = newKey();
    /** @type {AbortController | null} */
    this.asked = null;
    this.timer = 0;
    this.table = element('#days');
    this.said = element('#scenario-said');
    this.adopt = /** @type {HTMLButtonElement} */ (element('#adopt'));
    this.mayAdopt = !('forbidden' in this.adopt.dataset);
    this.hint = [...this.said.childNodes];
    this.table.addEventListener('change', (event) => this.edit(/** @type {HTMLElement} */ (event.target)));
    this.adopt.addEventListener('click', () => this.send());
    element('#discard').addEventListener('click', () => this.discard());
    element('#copy-link').addEventListener('click', () => this.copy());
    this.tellLeftOut(plan, unread);
    if (this.plan.size) {
      this.mark();
      this.ask();
    }
  }

  /**
   * Say which changes of the page's link count for nothing, and why.
   * @param {Map<string, import('./address.js').Fields>} plan What the link says.
   * @param {number} unread How many of its changes were not understood.
   */
  tellLeftOut(plan, unread) {
    const dates = [...this.base.keys()];
    const counts = { past: 0, outside: 0, same: 0 };
    for (const [date, fields] of plan) {
      const kept = Object.keys(this.plan.get(date) ?? {}).length;
      const missing = Object.keys(fields).length - kept;
      if (this.base.has(date)) counts.same += missing;
      else counts[date < dates[0] ? 'past' : 'outside'] += missing;
    }
    /** @param {number} count @param {string} one @param {string} several */
    const say = (count, one, several) =>
      count ? [count === 1 ? `1 change of this link ${one}.` : `${number(count)} changes of this link ${several}.`] : [];
    const said = [
      ...say(counts.past, 'is for a day that is past and was left out', 'are for days that are past and were left out'),
      ...say(counts.outside, 'is for a day without a forecast and was left out', 'are for days without a forecast and were left out'),
      ...say(counts.same, 'is what is planned anyway', 'are what is planned anyway'),
      ...say(unread, 'was not understood and was left out', 'were not understood and were left out'),
    ];
    element('#scenario-left-out').textContent = said.join(' ');
  }

  /**
   * Leave out days that the forecast does not cover, and values that are planned so anyway.
   * @param {Map<string, import('./address.js').Fields>} plan
   */
  known(plan) {
    const kept = new Map();
    for (const [date, fields] of plan) {
      const row = this.base.get(date);
      const changed = Object.entries(fields).filter(([name, value]) => row && row[name] !== value);
      if (changed.length) kept.set(date, Object.fromEntries(changed));
    }
    return kept;
  }

  /** @param {HTMLElement} control */
  edit(control) {
    const name = control.dataset.field;
    const date = control.closest('tr')?.dataset.date;
    if (!name || !date) return;
    const value = control instanceof HTMLInputElement
      ? Number(control.checked)
      : /** @type {HTMLSelectElement} */ (control).value;
    const fields = { ...this.plan.get(date), [name]: value };
    this.plan = this.known(new Map(this.plan).set(date, fields));
    this.key = newKey();
    history.replaceState(null, '', addressWith(location.href, { plan: this.plan, job: null }));
    this.mark();
    clearTimeout(this.timer);
    this.asked?.abort();
    if (this.plan.size) this.timer = setTimeout(() => this.ask(), PAUSE);
    else this.clear();
  }

  /** Show the changed plan in the table's controls. */
  mark() {
    for (const row of this.table.querySelectorAll('tbody tr')) {
      const { date } = /** @type {HTMLElement} */ (row).dataset;
      const fields = this.plan.get(date ?? '') ?? {};
      const base = this.base.get(date);
      row.classList.toggle('changed', Object.keys(fields).length > 0);
      for (const control of row.querySelectorAll('[data-field]')) {
        const name = /** @type {HTMLElement} */ (control).dataset.field ?? '';
        const value = fields[name] ?? base[name];
        if (control instanceof HTMLInputElement) control.checked = Boolean(value);
        else /** @type {HTMLSelectElement} */ (control).value = String(value);
      }
    }
  }

  changes() {
    return [...this.plan].sort().map(([date, fields]) => ({ store: this.store, first_day: date, ...fields }));
  }

  async ask() {
    this.asked?.abort();
    const asked = new AbortController();
    this.asked = asked;
    this.show(true);
    this.adopt.disabled = true;
    let answer;
    try {
      answer = await post('/v1/scenarios', { changes: this.changes() }, { signal: asked.signal });
    } catch (error) {
      if (!asked.signal.aborted) this.fail(error);
      return;
    }
    if (!asked.signal.aborted) this.tell(answer);
  }

  /** @param {any} answer */
  tell(answer) {
    const days = new Map(answer.days.map((/** @type {any} */ row) => [row.date, row]));
    for (const row of this.table.querySelectorAll('tbody tr')) {
      const found = days.get(/** @type {HTMLElement} */ (row).dataset.date);
      const [what, difference] = ['[data-what-if]', '[data-difference]'].map((name) => /** @type {HTMLElement} */ (row.querySelector(name)));
      const moved = found && Math.abs(found.scenario.point - found.current.point) >= 0.5;
      what.textContent = moved ? (found.scenario.open ? number(found.scenario.point) : 'closed') : '';
      difference.textContent = moved ? change(found.scenario.point - found.current.point) : '';
      difference.classList.toggle('good', moved && found.scenario.point > found.current.point);
      difference.classList.toggle('bad', moved && found.scenario.point < found.current.point);
    }
    const [total] = answer.stores;
    const range = `${change(total.difference_q0_1)} to ${change(total.difference_q0_9)}`;
    this.said.textContent =
      `Under this plan, the next ${answer.days.length} days are expected to sell ${number(total.scenario)} ` +
      `instead of ${number(total.current)}: ${change(total.difference)} (80\u00a0% range ${range}).`;
    const meaning = document.createElement('span');
    meaning.className = 'hint';
    meaning.textContent = ` ${answer.meaning}`;
    this.said.append(meaning);
    const list = element('#scenario-unseen');
    list.replaceChildren(
      ...answer.unseen.map((/** @type {any} */ row) => {
        const item = document.createElement('li');
        item.textContent = `${day(row.date)}: this store has never had such a day, so the model has no experience of it.`;
        return item;
      }),
    );
    this.chart.setScenario(
      new Map(answer.days.map((/** @type {any} */ row) => [row.date, { ...row.scenario, promo: this.plan.get(row.date)?.promo }])),
    );
    this.adopt.disabled = !this.mayAdopt;
  }

  /** @param {unknown} error */
  fail(error) {
    tellProblem(this.said, error, 'This what-if could not be computed');
    this.chart.setScenario(new Map());
    for (const cell of this.table.querySelectorAll('td.what-if')) cell.textContent = '';
  }

  async send() {
    this.adopt.disabled = true;
    try {
      this.follow(await post('/v1/plans', { changes: this.changes() }, { key: this.key }));
    } catch (error) {
      // The same key again is the same plan: it is safe to press the button once more.
      tellProblem(this.said, error, 'The plan was not adopted');
      this.adopt.disabled = !this.mayAdopt;
      this.said.focus();
    }
  }

  discard() {
    this.plan = new Map();
    history.replaceState(null, '', addressWith(location.href, { plan: this.plan }));
    this.mark();
    this.clear();
    this.said.prepend('Your changes are discarded; the table shows the plan in force. ');
    // The button is disabled now and would leave the focus nowhere.
    this.said.focus();
  }

  clear() {
    this.asked?.abort();
    this.show(false);
    this.said.replaceChildren(...this.hint);
    element('#scenario-unseen').replaceChildren();
    element('#scenario-left-out').textContent = '';
    for (const cell of this.table.querySelectorAll('td.what-if')) cell.textContent = '';
    this.chart.setScenario(new Map());
  }

  /** @param {boolean} shown */
  show(shown) {
    for (const button of document.querySelectorAll('#scenario button')) {
      /** @type {HTMLButtonElement} */ (button).disabled = !shown;
    }
    element('.legend .scenario').hidden = !shown;
    for (const cell of document.querySelectorAll('.what-if')) /** @type {HTMLElement} */ (cell).hidden = !shown;
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(location.href);
      this.said.append(' The link is copied.');
    } catch {
      this.said.append(' This browser does not let the page copy: take its address.');
    }
  }
}
