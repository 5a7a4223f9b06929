import { html } from "../lib.js"; export const Twin = () => html`<p></p>`;
