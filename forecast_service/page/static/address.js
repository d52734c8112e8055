// @ts-check
// The page's state is its address: the changed plan and the job that is followed. Reloading the page,
// or opening its link elsewhere, brings both back.

/** Fields of a plan, and the values that they may have. */
const VALUES = {
  open: ['0', '1'],
  promo: ['0', '1'],
  school_holiday: ['0', '1'],
  state_holiday: ['0', 'a', 'b', 'c'],
};
const ENTRY = /^(\d{4}-\d{2}-\d{2})\.([a-z_]+)\.([01abc])$/;

/** @typedef {Record<string, number | string>} Fields Changed fields of a day's plan. */

/**
 * Read the changed plan; what is not one is counted and left out.
 * @param {string} query
 * @returns {{plan: Map<string, Fields>, unread: number}} Day -> its changed fields, and how many
 *     changes were not understood.
 */
export function readPlan(query) {
  /** @type {Map<string, Fields>} */
  const plan = new Map();
  let unread = 0;
  for (const entry of new URLSearchParams(query).getAll('plan')) {
    const match = ENTRY.exec(entry);
    const [, date = '', name = '', value = ''] = match ?? [];
    if (!(/** @type {Record<string, string[]>} */ (VALUES)[name]?.includes(value))) {
      unread += 1;
      continue;
    }
    const fields = plan.get(date) ?? {};
    fields[name] = name === 'state_holiday' ? value : Number(value);
    plan.set(date, fields);
  }
  return { plan, unread };
}

/**
 * Return the address of this page with another plan or job.
 * @param {string} address
 * @param {{plan?: Map<string, Fields>, job?: string | null}} state What changes; the rest stays.
 */
export function addressWith(address, { plan, job }) {
  const url = new URL(address);
  if (plan) {
    url.searchParams.delete('plan');
    for (const [date, fields] of [...plan].sort()) {
      for (const [name, value] of Object.entries(fields)) {
        url.searchParams.append('plan', `${date}.${name}.${value}`);
      }
    }
  }
  if (job === null) url.searchParams.delete('job');
  else if (job) url.searchParams.set('job', job);
  return url.href;
}

/** The id of the job that the page follows; null if none. */
export const jobId = () => new URLSearchParams(location.search).get('job');
