/**
 * Where the page begins.
 *
 * @module
 */

import { render } from "preact";
import { App } from "./app.tsx";
import { applyTheme } from "./theme.ts";

const page = document.querySelector("#page");
if (page !== null) {
  applyTheme();
  render(<App />, page);
}
