// A page that is not brought up to date any more must not look as if it were: it turns grey and says so.
// All else works without this file.
(() => {
  "use strict"
  let renewed = Date.now()
  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail.ctx.response.status < 400) renewed = Date.now()
  })
  setInterval(() => {
    const live = document.querySelector("#live[data-stale-after]")
    if (live && Date.now() - renewed > 1000 * live.dataset.staleAfter) {
      live.classList.add("stale")
      live.querySelector("[data-stale-says]").hidden = false
    }
  }, 1000)
})()
