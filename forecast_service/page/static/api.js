// @ts-check
// Requests to the service's API, in the session's name. An error says what the service says.

/** @typedef {{field: string, message: string, bounds?: Record<string, any>}} FieldError */

export class Problem extends Error {
  /** @param {number} status @param {string} detail @param {FieldError[]} [errors] */
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

/** The status of a request of nobody who is signed in. */
const SIGNED_OUT = 401;

/** The error of a request whose session has ended. Nothing that was typed is lost by it. */
export const sessionEnded = () => new Problem(SIGNED_OUT, 'Your session has ended.');

/**
 * Say what went wrong. After the end of a session, offer the way back that keeps this page.
 * @param {HTMLElement} box
 * @param {unknown} error
 * @param {string} [before] What has not happened.
 */
export function tellProblem(box, error, before = '') {
  const { message, status } = /** @type {Problem} */ (error);
  box.textContent = before ? `${before}: ${message}` : message;
  if (status !== SIGNED_OUT) return;
  const link = document.createElement('a');
  link.href = `/sign-in?next=${encodeURIComponent(location.pathname)}`;
  link.target = '_blank';
  link.textContent = 'Sign in in a new tab';
  box.append(' ', link, ', come back to this one and try again: what you typed is still here.');
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
  if (answer.status === SIGNED_OUT) throw sessionEnded();
  const type = answer.headers.get('Content-Type') ?? '';
  const content = type.includes('json') ? await answer.json() : null;
  if (!answer.ok) {
    const detail = content?.detail ?? `The service answered with ${answer.status}.`;
    throw new Problem(answer.status, detail, content?.errors);
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
