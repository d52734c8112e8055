// @ts-check
// Requests to the service's API, in the session's name. An error says what the service says.

export class Problem extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(0, 'The service does not answer. Try again shortly.');
  }
  if (answer.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  const type = answer.headers.get('Content-Type') ?? '';
  const content = type.includes('json') ? await answer.json() : null;
  if (!answer.ok) {
    throw new Problem(answer.status, content?.detail ?? `The service answered with ${answer.status}.`);
  }
  return content;
}

/** @param {string} path */
export const get = (path) => ask(path);

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {{key?: string, signal?: AbortSignal}} [options] `key` makes a repeated request the same one.
 */
export function post(path, body, { key, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  return ask(path, { method: 'POST', headers, body: JSON.stringify(body), signal });
}

/** A key for a request that must count once, however often it is sent. */
export const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, '0')).join('');

/**
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function element(selector) {
  const match = document.querySelector(selector);
  if (!match) throw new Error(`the page has no ${selector}`);
  return /** @type {HTMLElement} */ (match);
}
