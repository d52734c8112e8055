// @ts-check
// The chain's page: draws what its first table shows.

import { drawRanges } from './ranges.js';

/** @param {HTMLElement} row A row of the table of totals. */
function period({ dataset }) {
  const [mean, low80, high80, low95, high95] = ['mean', 'low80', 'high80', 'low95', 'high95'].map((name) =>
    Number(dataset[name]),
  );
  return { first: dataset.first ?? '', last: dataset.last ?? '', mean, low80, high80, low95, high95 };
}

/** @type {HTMLElement[]} */
const rows = [...document.querySelectorAll('#totals tbody tr')].map((row) => /** @type {HTMLElement} */ (row));
const box = document.getElementById('chart');
const readout = document.getElementById('readout');
// Weeks that the horizon cuts short would look like a fall of sales.
const whole = rows.filter((row) => row.dataset.cut === undefined);
if (box && readout && whole.length) drawRanges(box, readout, whole.map(period));
