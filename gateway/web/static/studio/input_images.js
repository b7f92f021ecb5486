// @ts-check
import { html, useEffect, useState } from "../vendor/vendor.js";
import { imagesToAddAgain, inputFiles, maskFile } from "./draft.js";
import { FieldError, describedBy } from "./fields.js";

const TYPES = ["image/png", "image/jpeg", "image/webp"];
/** Bytes of one image, and of all together. */
const LARGEST = 20 * 1024 * 1024;
const LARGEST_TOGETHER = 40 * 1024 * 1024;
const BASE64_CHUNK = 0x8000;

/**
 * Images to start from: by drag and drop, from the clipboard, or chosen; with the first one, a mask.
 *
 * @param {{able: import("./catalogue.js").Capabilities, errorOf: (name: string) => string}} props
 */
export function InputImages({ able, errorOf }) {
  const most = able.max_input_images;
  const [refusal, setRefusal] = useState("");
  const [over, setOver] = useState(false);
  const files = inputFiles.value;
  const error = refusal || errorOf("input_images");

  /** @param {Iterable<File>} added */
  async function add(added) {
    setRefusal(await addFiles([...added], most));
  }
  useEffect(() => {
    /** @param {ClipboardEvent} event */
    const paste = (event) => {
      const images = [...(event.clipboardData?.files ?? [])];
      if (images.length) void add(images);
    };
    document.addEventListener("paste", paste);
    return () => document.removeEventListener("paste", paste);
  }, [most]);
  /** @param {DragEvent} event */
  function drop(event) {
    event.preventDefault();
    setOver(false);
    void add(event.dataTransfer?.files ?? []);
  }
  return html`<fieldset class=${`drop ${over ? "over" : ""}`} onDrop=${drop} onDragLeave=${() => setOver(false)}
    onDragOver=${(/** @type {DragEvent} */ event) => (event.preventDefault(), setOver(true))}>
    <legend>Input images</legend>
    <${ToAddAgain} />
    <label for="files">Drop images here, paste them, or choose files (at most ${most})</label>
    <input id="files" type="file" multiple accept=${TYPES.join(",")}
      onChange=${(/** @type {any} */ event) => add(event.target.files).then(() => (event.target.value = ""))} />
    ${error ? html`<p class="toned tone-error" role="alert">${error}</p>` : null}
    <ul class="inputs">${files.map((file) => html`<${Input} key=${file.preview || file.url} file=${file} remove=${() => remove(file)} />`)}</ul>
    ${files.length && able.mask ? html`<${Mask} error=${errorOf("mask")} />` : null}
  </fieldset>`;
}

/** Says which images the form cannot take over from a job. */
function ToAddAgain() {
  const count = imagesToAddAgain.value;
  if (!count) return null;
  return html`<p class="notice tone-warning" role="status">
    That job had ${count === 1 ? "an uploaded image" : `${count} uploaded images`}, which cannot be read back: add ${count === 1 ? "it" : "them"} again.
  </p>`;
}

/** @param {{file: import("./draft.js").InputFile, remove: () => void, label?: string}} props */
function Input({ file, remove, label = "Remove" }) {
  return html`<li>
    ${file.preview ? html`<img src=${file.preview} alt=${file.name} />` : html`<span class="linked">${file.url}</span>`}
    <button type="button" aria-label=${`Remove ${file.name}`} onClick=${remove}>${label}</button>
  </li>`;
}

/** @param {{error: string}} props */
function Mask({ error }) {
  const [refusal, setRefusal] = useState("");
  const mask = maskFile.value;
  const told = refusal || error;
  /** @param {any} event */
  async function choose(event) {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) setRefusal(await setMask(file));
  }
  return html`<div class="field">
    ${mask ? html`<span class="label">Mask</span>` : html`<label for="mask">Mask: its transparent area is edited, or its white one</label>`}
    ${mask
      ? html`<ul class="inputs"><${Input} file=${mask} label="Remove mask" remove=${clearMask} /></ul>`
      : html`<input id="mask" type="file" accept="image/png,image/webp" onChange=${choose} ...${describedBy("mask", told)} />`}
    <${FieldError} name="mask" error=${told} />
  </div>`;
}

/**
 * Adds files to the form.
 *
 * @param {File[]} files
 * @param {number} most
 * @returns {Promise<string>} why one was not added; "" if all were
 */
async function addFiles(files, most) {
  for (const file of files) {
    const refusal = inputFiles.value.length >= most ? `This model takes at most ${most} images.` : refusalOf(file, maskFile.value);
    if (refusal) return refusal;
    inputFiles.value = [...inputFiles.value, await read(file)];
    imagesToAddAgain.value = Math.max(0, imagesToAddAgain.value - 1);
  }
  return "";
}

/**
 * @param {File} file
 * @returns {Promise<string>} why it cannot be the mask; "" if it is
 */
async function setMask(file) {
  const refusal = refusalOf(file, null);
  if (refusal) return refusal;
  maskFile.value = await read(file);
  imagesToAddAgain.value = Math.max(0, imagesToAddAgain.value - 1);
  return "";
}

/**
 * @param {File} file
 * @param {import("./draft.js").InputFile | null} mask the one that stays
 */
function refusalOf(file, mask) {
  const kept = [...inputFiles.value, ...(mask ? [mask] : [])];
  const bytes = kept.reduce((sum, other) => sum + other.data.length * 0.75, file.size);
  if (!TYPES.includes(file.type)) return `${file.name}: only PNG, JPEG and WebP images can be used.`;
  if (file.size > LARGEST) return `${file.name} is larger than 20 MiB.`;
  return bytes > LARGEST_TOGETHER ? "The images are larger than 40 MiB together." : "";
}

/**
 * @param {File} file
 * @returns {Promise<import("./draft.js").InputFile>}
 */
async function read(file) {
  const data = base64(new Uint8Array(await file.arrayBuffer()));
  return { name: file.name, type: file.type, data, url: "", preview: URL.createObjectURL(file) };
}

/** @param {import("./draft.js").InputFile} removed */
function remove(removed) {
  URL.revokeObjectURL(removed.preview);
  inputFiles.value = inputFiles.value.filter((file) => file !== removed);
}

function clearMask() {
  if (maskFile.value) URL.revokeObjectURL(maskFile.value.preview);
  maskFile.value = null;
}

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += BASE64_CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + BASE64_CHUNK));
  return btoa(text);
}
