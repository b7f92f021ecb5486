// @ts-check
import { html, useEffect, useState } from "../vendor/vendor.js";
import { inputFiles } from "./draft.js";

const TYPES = ["image/png", "image/jpeg", "image/webp"];
/** Bytes of one image, and of all together. */
const LARGEST = 20 * 1024 * 1024;
const LARGEST_TOGETHER = 40 * 1024 * 1024;
const BASE64_CHUNK = 0x8000;

/**
 * Images to start from: by drag and drop, from the clipboard, or chosen.
 *
 * @param {{most: number, error: string}} props
 */
export function InputImages({ most, error }) {
  const [refusal, setRefusal] = useState("");
  const [over, setOver] = useState(false);
  const files = inputFiles.value;

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
    <label for="files">Drop images here, paste them, or choose files (at most ${most})</label>
    <input id="files" type="file" multiple accept=${TYPES.join(",")}
      onChange=${(/** @type {any} */ event) => add(event.target.files).then(() => (event.target.value = ""))} />
    ${refusal || error ? html`<p class="toned tone-error" role="alert">${refusal || error}</p>` : null}
    <ul class="inputs">
      ${files.map(
        (file) => html`<li key=${file.preview}>
          <img src=${file.preview} alt=${file.name} />
          <button type="button" aria-label=${`Remove ${file.name}`} onClick=${() => remove(file.preview)}>Remove</button>
        </li>`,
      )}
    </ul>
  </fieldset>`;
}

/**
 * Adds files to the form.
 *
 * @param {File[]} files
 * @param {number} most
 * @returns {Promise<string>} why one was not added; "" if all were
 */
async function addFiles(files, most) {
  let bytes = inputFiles.value.reduce((sum, file) => sum + file.data.length * 0.75, 0);
  for (const file of files) {
    bytes += file.size;
    if (!TYPES.includes(file.type)) return `${file.name}: only PNG, JPEG and WebP images can be used.`;
    if (inputFiles.value.length >= most) return `This model takes at most ${most} images.`;
    if (file.size > LARGEST) return `${file.name} is larger than 20 MiB.`;
    if (bytes > LARGEST_TOGETHER) return "The images are larger than 40 MiB together.";
    const data = base64(new Uint8Array(await file.arrayBuffer()));
    inputFiles.value = [...inputFiles.value, { name: file.name, type: file.type, data, preview: URL.createObjectURL(file) }];
  }
  return "";
}

/** @param {string} preview */
function remove(preview) {
  URL.revokeObjectURL(preview);
  inputFiles.value = inputFiles.value.filter((file) => file.preview !== preview);
}

/** @param {Uint8Array} bytes */
function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += BASE64_CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + BASE64_CHUNK));
  return btoa(text);
}
