// @ts-check

/**
 * Adds a form to each operation of `/docs`, which sends the request to this gateway and shows the response.
 *
 * The key stays in the memory of the page: nothing is stored, and no address contains it. Text reaches the page only as
 * text, never as HTML.
 */

/** Characters of a response that are shown; an event stream may be endless. */
const MAX_SHOWN = 200_000;

/** @typedef {Record<string, any>} Json a JSON object of the OpenAPI document */

/** @type {Promise<Json> | undefined} */
let loading;

/**
 * The OpenAPI document, loaded once.
 * @returns {Promise<Json>}
 */
function apiDocument() {
  loading ??= fetch("/openapi.json").then((response) => {
    if (!response.ok) throw new Error(`/openapi.json: ${response.status}`);
    return response.json();
  });
  loading.catch(() => (loading = undefined));
  return loading;
}

/**
 * A new element with properties and children.
 * @param {string} name
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string)} children
 * @returns {any}
 */
function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children);
  return created;
}

/**
 * The value of a schema, with a reference replaced.
 * @param {Json} schema
 * @param {Json} api
 * @returns {Json}
 */
function resolved(schema, api) {
  return "$ref" in schema ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
}

/**
 * A labelled input for a parameter or a form field.
 * @param {string} name
 * @param {Json} schema
 * @param {Json} api
 * @param {object} options
 * @param {string} [options.note] shown behind the name
 * @param {string} [options.value] initial value
 * @param {boolean} [options.required]
 * @returns {{row: HTMLElement, input: any}}
 */
function field(name, schema, api, { note = "", value = "", required = false }) {
  const shape = resolved(schema, api);
  const files = shape.format === "binary" || shape.items?.format === "binary";
  const input = shape.enum
    ? element("select", { required }, ...["", ...shape.enum].map((one) => element("option", { value: one }, one)))
    : element("input", { type: files ? "file" : "text", multiple: shape.type === "array", required });
  input.autocomplete = "off";
  if (!files) input.value = value;
  const words = `${note ? ` ${note}` : ""}${required ? " (required)" : ""} `;
  const label = element("label", {}, element("code", {}, name), words, input);
  return { row: element("p", {}, label), input };
}

/**
 * The inputs for an operation's body: a text for JSON, one input per field for a form.
 * @param {string} mediaType
 * @param {Json} content
 * @param {Json} api
 * @returns {{rows: HTMLElement[], body: () => string | FormData}}
 */
function bodyInputs(mediaType, content, api) {
  if (mediaType !== "multipart/form-data") {
    const text = element("textarea", { rows: 12, spellcheck: false, value: JSON.stringify(content.example, null, 2) });
    const label = element("label", {}, `Body (${mediaType})`, element("br"), text);
    return { rows: [element("p", {}, label)], body: () => text.value };
  }
  const schema = resolved(content.schema, api);
  const fields = Object.entries(schema.properties).map(([name, property]) => {
    const example = content.example[name];
    const value = typeof example === "string" || typeof example === "number" ? String(example) : "";
    return { name, ...field(name, property, api, { value, required: schema.required?.includes(name) }) };
  });
  const body = () => {
    const form = new FormData();
    for (const { name, input } of fields) {
      if (input.type === "file") for (const file of input.files) form.append(name, file);
      else if (input.value) form.append(name, input.value);
    }
    return form;
  };
  return { rows: fields.map(({ row }) => row), body };
}

/**
 * JSON text with line breaks and indents. Numbers stay as they were sent: a seed may exceed what JavaScript counts.
 * @param {string} text
 * @returns {string}
 */
export function indented(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|\s+/g, (token) => {
    if (/^\s+$/.test(token)) return "";
    if (token === "{" || token === "[") {
      depth += 1;
      return token + line();
    }
    if (token === "}" || token === "]") {
      depth -= 1;
      return line() + token;
    }
    if (token === ",") return token + line();
    return token === ":" ? ": " : token;
  });
}

/**
 * The request as a command for a shell; the key is a variable.
 * @param {string} method
 * @param {string} address
 * @param {Headers} headers
 * @param {string | FormData | undefined} body
 * @returns {string}
 */
export function curl(method, address, headers, body) {
  /** @param {string} text */
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = [`curl -X ${method} ${quoted(address)}`];
  headers.forEach((value, name) => {
    const isKey = name === "authorization";
    parts.push(isKey ? `-H "Authorization: Bearer $CALOTYPE_API_KEY"` : `-H ${quoted(`${name}: ${value}`)}`);
  });
  if (typeof body === "string") parts.push(`-d ${quoted(body)}`);
  else
    body?.forEach((value, name) => {
      parts.push(`-F ${quoted(`${name}=${typeof value === "string" ? value : `@${value.name}`}`)}`);
    });
  return parts.join(" \\\n  ");
}

/**
 * Sends the request and shows the response as it arrives.
 * @param {string} address
 * @param {RequestInit} request
 * @param {{status: HTMLElement, headers: HTMLElement, body: HTMLElement}} shown
 * @returns {Promise<void>}
 */
async function send(address, request, shown) {
  shown.headers.textContent = shown.body.textContent = "";
  shown.status.textContent = "Sent; waiting for the response.";
  const began = performance.now();
  try {
    const response = await fetch(address, { ...request, credentials: "omit", cache: "no-store", redirect: "error" });
    shown.status.textContent = `${response.status} ${response.statusText}`;
    shown.headers.textContent = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    let text = "";
    for (const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader(); reader; ) {
      const { done, value } = await reader.read();
      if (done) break;
      text += value;
      if (!isJson) shown.body.textContent = text.slice(-MAX_SHOWN);
      if (text.length > MAX_SHOWN) text = isJson ? text : text.slice(-MAX_SHOWN);
    }
    const isLong = text.length > MAX_SHOWN;
    if (isJson) shown.body.textContent = isLong ? `${text.slice(0, MAX_SHOWN)} ...` : indented(text);
    shown.status.textContent += `, ${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    const stopped = request.signal?.aborted;
    shown.status.textContent = stopped ? "Stopped." : `No response: ${error instanceof Error ? error.message : error}`;
  }
}

/**
 * The form of an operation.
 * @param {string} method
 * @param {string} path
 * @param {Json} operation
 * @param {Json} api
 * @param {() => string} key
 * @returns {HTMLElement}
 */
function form(method, path, operation, api, key) {
  const parameters = (operation.parameters ?? []).filter((/** @type {Json} */ one) => one.name !== "metadata.KEY");
  const inputs = parameters.map((/** @type {Json} */ one) => ({
    ...one,
    ...field(one.name, one.schema, api, { note: `(${one.in})`, required: one.required }),
  }));
  const contents = Object.entries(operation.requestBody?.content ?? {});
  const bodies = new Map(contents.map(([mediaType, content]) => [mediaType, bodyInputs(mediaType, content, api)]));
  const choice = element("select", {}, ...[...bodies.keys()].map((one) => element("option", { value: one }, one)));
  const place = element("div");
  const show = () => place.replaceChildren(...(bodies.get(choice.value)?.rows ?? []));
  choice.addEventListener("change", show);
  show();
  const stop = element("button", { type: "button", disabled: true }, "Stop");
  const shown = {
    status: element("p", { role: "status" }),
    curl: element("pre"),
    headers: element("pre"),
    body: element("pre", { tabIndex: 0 }),
  };
  const made = element(
    "form",
    { className: "try-it" },
    ...inputs.map((/** @type {any} */ one) => one.row),
    bodies.size > 1 ? element("p", {}, element("label", {}, "Type of the body ", choice)) : "",
    place,
    element("p", {}, element("button", { type: "submit" }, "Send"), " ", stop),
    shown.status, shown.curl, shown.headers, shown.body,
  );
  made.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const { address, headers } = addressed(path, inputs);
    if (operation.security?.length && key()) headers.set("Authorization", `Bearer ${key()}`);
    const body = bodies.get(choice.value)?.body();
    if (typeof body === "string" && body) headers.set("Content-Type", choice.value);
    shown.curl.textContent = curl(method, address, headers, body);
    const controller = new AbortController();
    stop.onclick = () => controller.abort();
    stop.disabled = false;
    await send(address, { method, headers, body: body || undefined, signal: controller.signal }, shown);
    stop.disabled = true;
  });
  return made;
}

/**
 * The address of a request and its headers, from the inputs of its parameters.
 * @param {string} path
 * @param {Json[]} inputs
 * @returns {{address: string, headers: Headers}}
 */
function addressed(path, inputs) {
  const headers = new Headers();
  const query = new URLSearchParams();
  for (const { name, in: where, input } of inputs) {
    if (where === "path") path = path.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value && where === "query") query.append(name, input.value);
    else if (input.value && where === "header") headers.set(name, input.value);
  }
  const search = query.toString();
  return { address: `${location.origin}${path}${search ? `?${search}` : ""}`, headers };
}

/**
 * The method, path and operation of an operation's id.
 * @param {Json} api
 * @param {string} id
 * @returns {[string, string, Json]}
 */
function found(api, id) {
  for (const [path, operations] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(operations))
      if (operation.operationId === id) return [method.toUpperCase(), path, operation];
  throw new Error(`There is no operation ${id}.`);
}

const keyInput = element("input", { type: "password", id: "key", autocomplete: "off", spellcheck: false });
const keyLabel = element("label", {}, "Key for requests from this page ", keyInput, " It is kept until the page is closed.");
document.querySelector("h2")?.before(element("p", {}, keyLabel));
for (const section of document.querySelectorAll("details")) {
  const button = element("button", { type: "button" }, "Try it");
  const place = element("div", {}, button);
  section.querySelector("summary")?.after(place);
  button.addEventListener("click", async () => {
    try {
      const api = await apiDocument();
      const [method, path, operation] = found(api, section.id);
      place.replaceChildren(form(method, path, operation, api, () => keyInput.value.trim()));
      place.querySelector("input, textarea, select, button").focus();
    } catch (error) {
      place.replaceChildren(button, element("p", { role: "status" }, String(error)));
    }
  });
}
