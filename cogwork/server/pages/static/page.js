// What pages can do beyond links and forms: follow what happens, show steps in place, tell times as the reader has them.
import { follow } from "./live.js";
import { design } from "./design.js";
import { steps } from "./steps.js";
import { localised } from "./times.js";

const fault = document.getElementById("fault");
if (fault) fault.focus();
if (document.getElementById("did")) {
  const address = new URL(location.href);
  address.searchParams.delete("did");
  history.replaceState(null, "", address);
}
localised(document);
const main = document.querySelector("main[data-stream]");
const stream = main ? follow(main) : null;
steps(stream);
design();
