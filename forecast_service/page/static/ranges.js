// @ts-check
// A chart of expected sales with their 80 and 95 % ranges. Its cursor moves by keyboard as well, and
// says what it points at.

import { day, number } from './locale.js';
import { NO_LIBRARY, SCALES, bands, colour, dayAt, seconds } from './plotting.js';

const HEIGHT = 240;

/**
 * @typedef {object} Period
 * @property {string} first First day.
 * @property {string} last Last day; the first for a single day.
 * @property {number} mean
 * @property {number} low80
 * @property {number} high80
 * @property {number} low95
 * @property {number} high95
 */

/** @param {Period} period */
function words(period) {
  const when = period.first === period.last ? day(period.first) : `${day(period.first)} – ${day(period.last)}`;
  return (
    `${when}: expected ${number(period.mean)}, 80 % range ${number(period.low80)} to ${number(period.high80)}, ` +
    `95 % range ${number(period.low95)} to ${number(period.high95)}`
  );
}

/**
 * Draw the chart, again whenever the colours or the width change.
 * @param {HTMLElement} box
 * @param {HTMLElement} readout Says the period under the cursor.
 * @param {Period[]} periods In their order.
 */
export function drawRanges(box, readout, periods) {
  const UPlot = /** @type {any} */ (window).uPlot;
  if (!UPlot) {
    readout.textContent = NO_LIBRARY;
    return;
  }
  let index = 0;
  /** @type {any} */
  let plot = null;
  const data = [
    periods.map((period) => seconds(period.first)),
    ...(/** @type {const} */ (['low95', 'high95', 'low80', 'high80', 'mean'])).map((name) =>
      periods.map((period) => period[name]),
    ),
  ];

  /** @param {number} at */
  function say(at) {
    index = at;
    const text = words(periods[at]);
    if (readout.textContent !== text) readout.textContent = text;
  }

  function draw() {
    plot?.destroy();
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    const areDays = periods[0].first === periods[0].last;
    // Weeks have a mark at their Monday, days wherever there is room.
    const starts = areDays ? {} : { splits: () => data[0] };
    const every = areDays ? 1 : Math.ceil((periods.length * 90) / box.clientWidth);
    const edge = { stroke: 'transparent', width: 0, points: { show: false } };
    plot = new UPlot(
      {
        width: box.clientWidth,
        height: HEIGHT,
        // Room for the last day's name, which is centred on its mark.
        padding: [null, 40, null, null],
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        tzDate: (/** @type {number} */ time) => UPlot.tzDate(new Date(time * 1000), 'UTC'),
        axes: [
          { ...axis, space: 90, ...starts, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((time, k) => (k % every ? '' : dayAt(time))) },
          { ...axis, size: 84, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(number) },
        ],
        scales: SCALES,
        series: [
          {}, edge, edge, edge, edge,
          { stroke: colour('--series'), width: 2, points: { show: true, size: 6, fill: colour('--series') } },
        ],
        bands: bands(),
        hooks: { setCursor: [(/** @type {any} */ made) => made.cursor.idx != null && say(made.cursor.idx)] },
      },
      data,
      box,
    );
  }

  /** @param {number} at */
  function show(at) {
    plot.setCursor({ left: plot.valToPos(seconds(periods[at].first), 'x'), top: plot.over.clientHeight / 2 });
    say(at);
  }

  box.hidden = false;
  draw();
  box.addEventListener('focus', () => show(index));
  box.addEventListener('keydown', (event) => {
    const last = periods.length - 1;
    const to = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(Math.min(last, Math.max(0, to)));
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
}
