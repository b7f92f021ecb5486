// Types of vendor.js, which is minified; `make vendor` needs no change here unless vendor_entry.js exports more.
import type { VNode } from "preact";

export { batch, computed, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
export { render, type ComponentChildren, type RefObject, type VNode } from "preact";
export { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

/** What a component returns. */
export type View = VNode | VNode[] | string | null;
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
