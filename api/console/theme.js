// Light or dark: as the system has it, until chosen otherwise here. Charts redraw when `theme` changes.
import { signal } from "./lib.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const system = () => (dark.matches ? "dark" : "light");
const known = new Map(); // colours asked for since the last change; asking the browser makes it lay the page out

export const theme = signal(localStorage.getItem("theme") ?? system());
document.documentElement.dataset.theme = theme.value;

function show(name) {
  document.documentElement.dataset.theme = name;
  known.clear();
  theme.value = name;
}

export function toggleTheme() {
  show(theme.value === "dark" ? "light" : "dark");
  localStorage.setItem("theme", theme.value);
}

dark.addEventListener("change", () => localStorage.getItem("theme") ?? show(system()));

/** A colour of the style sheet, for canvases. */
export function colour(name) {
  const found = known.get(name) ?? getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  if (found) known.set(name, found);
  return found;
}
