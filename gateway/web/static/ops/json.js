// @ts-check
/** A string or a number of a JSON text; strings are matched so that digits in them are left alone. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG_INTEGER = /^-?\d{16,}$/;

/**
 * Parses JSON; an integer beyond 2^53, which a number would round, becomes a string with its digits.
 * @param {string} text
 * @returns {any} The value. Throws `SyntaxError` if the text is no JSON.
 */
export function parseJson(text) {
  return JSON.parse(text.replace(TOKENS, (token) =>
    LONG_INTEGER.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token));
}
