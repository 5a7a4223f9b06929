// Light or dark: as the system has it, until chosen otherwise here. Charts redraw when `theme` changes.
import { signal } from "./lib.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const system = () => (dark.matches ? "dark" : "light");

export const theme = signal(localStorage.getItem("theme") ?? system());
document.documentElement.dataset.theme = theme.value;

function show(name) {
  document.documentElement.dataset.theme = name;
  theme.value = name;
}

export function toggleTheme() {
  show(theme.value === "dark" ? "light" : "dark");
  localStorage.setItem("theme", theme.value);
}

dark.addEventListener("change", () => localStorage.getItem("theme") ?? show(system()));

/** A colour of the style sheet, for canvases. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
