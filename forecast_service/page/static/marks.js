// @ts-check
// What the chart of a store draws of whole days: closed ones, promotions, public holidays, and where the
// forecast begins. Each takes uPlot's plot and draws on its canvas.

import { colour, seconds } from './plotting.js';

/** Heights in pixels of the screen. */
const STRIP = 4;
const TRIANGLE = 6;
const HALF_DAY = 43_200;
const BEGINS = 'forecast begins';

/**
 * Draw on the plot's canvas, and leave its state as it was.
 * @param {any} plot
 * @param {(context: CanvasRenderingContext2D, box: any, ratio: number) => void} work
 */
function draw(plot, work) {
  plot.ctx.save();
  work(plot.ctx, plot.bbox, devicePixelRatio);
  plot.ctx.restore();
}

/** @param {any} plot @param {number} time Where it lies, in pixels of the canvas. */
const across = (plot, time) => plot.valToPos(time, 'x', true);

/**
 * Shade the days on which the store is closed.
 * @param {any} plot
 * @param {any[]} days
 * @param {Map<string, any>} scenario Day -> its forecast under the changed plan.
 */
export function closedDays(plot, days, scenario) {
  draw(plot, (context, box) => {
    context.fillStyle = colour('--closed');
    for (const row of days) {
      if (scenario.get(row.date)?.open ?? row.open) continue;
      const from = Math.max(across(plot, seconds(row.date) - HALF_DAY), box.left);
      const to = Math.min(across(plot, seconds(row.date) + HALF_DAY), box.left + box.width);
      context.fillRect(from, box.top, to - from, box.height);
    }
  });
}

/**
 * Draw a strip under the days with a promotion.
 * @param {any} plot
 * @param {any[]} days
 * @param {Map<string, any>} scenario
 */
export function promotions(plot, days, scenario) {
  draw(plot, (context, box, ratio) => {
    const width = Math.max(2, box.width / days.length - ratio);
    context.fillStyle = colour('--strong-line');
    for (const row of days) {
      if (!(scenario.get(row.date)?.promo ?? row.promo)) continue;
      const x = across(plot, seconds(row.date));
      context.fillRect(x - width / 2, box.top + box.height - STRIP * ratio, width, STRIP * ratio);
    }
  });
}

/**
 * Point at public holidays from above.
 * @param {any} plot
 * @param {any[]} days
 */
export function holidays(plot, days) {
  draw(plot, (context, box, ratio) => {
    context.fillStyle = colour('--holiday');
    const size = TRIANGLE * ratio;
    for (const row of days) {
      if (!row.holiday) continue;
      const x = across(plot, seconds(row.date));
      context.beginPath();
      context.moveTo(x - size, box.top);
      context.lineTo(x + size, box.top);
      context.lineTo(x, box.top + 1.5 * size);
      context.fill();
    }
  });
}

/**
 * Draw a line between the newest day whose sales are known and the first of the forecast, with a name.
 * @param {any} plot
 * @param {string} origin The newest day whose sales are known.
 */
export function forecastBegins(plot, origin) {
  draw(plot, (context, box, ratio) => {
    const x = Math.round(across(plot, seconds(origin) + HALF_DAY));
    context.fillStyle = colour('--text');
    context.fillRect(x, box.top, Math.max(1, ratio), box.height);
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    // The axes leave theirs behind.
    context.textAlign = 'left';
    context.textBaseline = 'top';
    const gap = 4 * ratio;
    const { width } = context.measureText(BEGINS);
    const fits = x + gap + width < box.left + box.width;
    // A ground of its own keeps the name legible over lines.
    const left = fits ? x + gap : x - gap - width;
    context.fillStyle = colour('--ground');
    context.fillRect(left - gap / 2, box.top + 2 * TRIANGLE * ratio, width + gap, 14 * ratio);
    context.fillStyle = colour('--text');
    context.fillText(BEGINS, left, box.top + (2 * TRIANGLE + 1) * ratio);
  });
}
