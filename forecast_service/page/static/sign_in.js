// @ts-check
// Signs in with the token behind the `#` of the stack's link. Only the browser sees that part of an
// address; it is taken out of the address before the form is sent.

const form = /** @type {HTMLFormElement} */ (document.getElementById('sign-in'));
const field = /** @type {HTMLInputElement} */ (document.getElementById('token'));
const token = decodeURIComponent(location.hash.slice(1));

if (token) {
  history.replaceState(null, '', location.pathname + location.search);
  field.value = token;
  form.submit();
} else {
  field.focus();
}
