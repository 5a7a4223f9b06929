import { html } from "../lib.js"; export const Trends = () => html`<p></p>`;
