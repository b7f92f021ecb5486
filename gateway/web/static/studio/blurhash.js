// @ts-check
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/**
 * Paints the placeholder of an image over the whole canvas; leaves it empty if the text is no BlurHash.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {string} hash
 */
export function paint(canvas, hash) {
  const context = canvas.getContext("2d");
  const columns = (digits(hash, 0, 1) % 9) + 1;
  const rows = Math.floor(digits(hash, 0, 1) / 9) + 1;
  if (!context || hash.length !== 4 + 2 * columns * rows) return;
  const image = context.createImageData(canvas.width, canvas.height);
  fill(image, colours(hash, columns * rows), columns);
  context.putImageData(image, 0, 0);
}

/**
 * Sums up the cosine waves of the components.
 *
 * @param {ImageData} image
 * @param {number[][]} components red, green and blue in linear light, row by row
 * @param {number} columns
 */
function fill(image, components, columns) {
  const { width, height, data } = image;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0];
      components.forEach((colour, index) => {
        const column = Math.cos((Math.PI * x * (index % columns)) / width);
        const weight = column * Math.cos((Math.PI * y * Math.floor(index / columns)) / height);
        colour.forEach((value, channel) => (sum[channel] += value * weight));
      });
      const at = 4 * (y * width + x);
      data.set([...sum.map(toSrgb), 255], at);
    }
  }
}

/**
 * @param {string} hash
 * @param {number} count of the components
 */
function colours(hash, count) {
  const largest = (digits(hash, 1, 2) + 1) / 166;
  const average = digits(hash, 2, 6);
  const found = [[average >> 16, (average >> 8) & 255, average & 255].map(toLinear)];
  for (let index = 1; index < count; index++) {
    const value = digits(hash, 4 + 2 * index, 6 + 2 * index);
    const steps = [Math.floor(value / 361), Math.floor(value / 19) % 19, value % 19];
    found.push(steps.map((step) => Math.sign(step - 9) * ((step - 9) / 9) ** 2 * largest));
  }
  return found;
}

/** @param {string} hash @param {number} from @param {number} to */
function digits(hash, from, to) {
  return [...hash.slice(from, to)].reduce((sum, digit) => sum * 83 + DIGITS.indexOf(digit), 0);
}

/** @param {number} value 0 to 255 */
function toLinear(value) {
  const share = value / 255;
  return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

/** @param {number} light 0 to 1 */
function toSrgb(light) {
  const value = Math.min(1, Math.max(0, light));
  return Math.round(255 * (value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055));
}
