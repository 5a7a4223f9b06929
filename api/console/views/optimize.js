import { html } from "../lib.js"; export const Optimize = () => html`<p></p>`;
