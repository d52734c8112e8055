// @ts-check
// What both charts need besides uPlot: colours of the style sheet, days on the time axis, ranges.

import { day } from './locale.js';

/** @param {string} name A custom property of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {string} iso A day. */
export const seconds = (iso) => Date.parse(`${iso}T00:00:00Z`) / 1000;

/** @param {number} time Seconds since 1970. */
export const dayAt = (time) => day(new Date(time * 1000).toISOString().slice(0, 10));

/** Said in place of a chart whose library could not be loaded. */
export const NO_LIBRARY = 'The chart’s library is not there; the table below has every number.';

/** The vertical scale: from 0, with room above. */
export const SCALES = {
  y: { range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [0, (high || 1) * 1.08] },
};

/** The ranges between the series of their edges, 95 % behind 80 %. */
export const bands = () => [
  { series: [2, 1], fill: colour('--band-95') },
  { series: [4, 3], fill: colour('--band-80') },
];
