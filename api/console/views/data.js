import { html } from "../lib.js"; export const Data = () => html`<p></p>`;
