// @ts-check
// The chart of a store: sales, forecast with its ranges, what if and adjustments. It draws what the
// tables show, and its cursor moves by keyboard as well. What marks whole days is in `marks.js`.

import { day, number } from './locale.js';
import { closedDays, forecastBegins, holidays, promotions } from './marks.js';
import { NO_LIBRARY, SCALES, bands, colour, dayAt, seconds } from './plotting.js';

const HEIGHT = 280;
/** Width in pixels below which days on the axis stand closer, or there would be one. */
const NARROW = 480;

export class Chart {
  /**
   * @param {HTMLElement} box
   * @param {HTMLElement} readout Says the day under the cursor.
   * @param {any[]} days Past and future days, in their order.
   * @param {number} first Where the cursor begins.
   * @param {number} lead Days ahead of the forecasts that are laid over past days.
   * @param {string} origin The newest day whose sales the forecast has seen.
   */
  constructor(box, readout, days, first, lead, origin) {
    this.box = box;
    this.readout = readout;
    this.days = days;
    /** @type {Map<string, any>} Day -> its forecast under the changed plan. */
    this.scenario = new Map();
    this.index = first;
    this.lead = lead;
    this.origin = origin;
    /** @type {any} */
    this.plot = null;
    this.draw();
    box.addEventListener('keydown', (event) => this.move(event));
    box.addEventListener('focus', () => this.show(this.index));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    new ResizeObserver(() => this.plot?.setSize({ width: this.box.clientWidth, height: HEIGHT })).observe(box);
  }

  /** The columns that uPlot draws. Closed days have no value; marks show them, and lines go on. */
  columns() {
    /** @param {string} name */
    const open = (name) => this.days.map((row) => (row.open ? row[name] : null));
    const isPast = this.days.map((row) => row.date <= this.origin);
    const points = open('point');
    const what = this.days.map((row) => {
      const changed = this.scenario.get(row.date);
      return changed?.open ? changed.point : null;
    });
    return [
      this.days.map((row) => seconds(row.date)),
      ...['q0_025', 'q0_975', 'q0_1', 'q0_9', 'sales'].map(open),
      points.map((value, k) => (isPast[k] ? null : value)),
      points.map((value, k) => (isPast[k] ? value : null)),
      what,
      open('adjusted'),
    ];
  }

  /** @param {Map<string, any>} scenario */
  setScenario(scenario) {
    this.scenario = scenario;
    this.plot?.setData(this.columns());
  }

  draw() {
    const UPlot = /** @type {any} */ (window).uPlot;
    if (!UPlot) {
      this.readout.textContent = NO_LIBRARY;
      return;
    }
    this.box.hidden = false;
    this.plot?.destroy();
    const text = colour('--faint');
    const axis = { stroke: text, grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    /** @param {string} name @param {any} [more] */
    const line = (name, more) => ({ stroke: colour(name), width: 1.5, spanGaps: true, points: { show: false }, ...more });
    const edge = { stroke: 'transparent', width: 0, spanGaps: true, points: { show: false } };
    this.plot = new UPlot(
      {
        width: this.box.clientWidth,
        height: HEIGHT,
        tzDate: (/** @type {number} */ time) => UPlot.tzDate(new Date(time * 1000), 'UTC'),
        cursor: { drag: { x: false, y: false } },
        axes: [
          { ...axis, size: 30, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(dayAt), space: this.box.clientWidth < NARROW ? 70 : 96 },
          { ...axis, size: 60, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(number) },
        ],
        scales: SCALES,
        series: [
          {}, edge, edge, edge, edge,
          line('--actual'), line('--series'), line('--earlier', { dash: [2, 2], points: { show: true, size: 4, width: 0, fill: colour('--earlier') } }), line('--scenario', { dash: [5, 3] }),
          { stroke: colour('--scenario'), width: 0, paths: () => null, points: { show: true, size: 7, fill: colour('--scenario') } },
        ],
        bands: bands(),
        hooks: {
          // Behind all else, then over it.
          drawClear: [(/** @type {any} */ plot) => closedDays(plot, this.days, this.scenario)],
          draw: [
            (/** @type {any} */ plot) => promotions(plot, this.days, this.scenario),
            (/** @type {any} */ plot) => holidays(plot, this.days),
            (/** @type {any} */ plot) => forecastBegins(plot, this.origin),
          ],
          setCursor: [(/** @type {any} */ plot) => plot.cursor.idx != null && this.say(plot.cursor.idx)],
        },
      },
      this.columns(),
      this.box,
    );
  }

  /** @param {KeyboardEvent} event */
  move(event) {
    const last = this.days.length - 1;
    const to = {
      ArrowLeft: this.index - 1, ArrowRight: this.index + 1,
      PageUp: this.index - 7, PageDown: this.index + 7, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.show(Math.min(last, Math.max(0, to)));
  }

  /** @param {number} index */
  show(index) {
    if (!this.plot) return;
    const left = this.plot.valToPos(seconds(this.days[index].date), 'x');
    this.plot.setCursor({ left, top: this.plot.over.clientHeight / 2 });
    this.say(index);
  }

  /** @param {number} index */
  say(index) {
    this.index = index;
    const row = this.days[index];
    const said = [];
    const what = this.scenario.get(row.date);
    if (!row.open) said.push('closed');
    else if (row.sales !== null) {
      said.push(`sales ${number(row.sales)}`);
      if (row.point !== null) said.push(`forecast ${this.lead} days before or earlier ${number(row.point)}`);
    } else said.push(`forecast ${number(row.point)}, 80 % range ${number(row.q0_1)} to ${number(row.q0_9)}`);
    if (what && (what.point !== row.point || what.open !== row.open)) {
      said.push(what.open ? `what if ${number(what.point)}` : 'what if closed');
    }
    if (row.adjusted !== null) said.push(`adjusted ${number(row.adjusted)}`);
    if (what?.promo ?? row.promo) said.push('promotion');
    if (row.holiday) said.push(row.holiday);
    const text = `${day(row.date)}: ${said.join(', ')}`;
    if (this.readout.textContent !== text) this.readout.textContent = text;
  }
}
