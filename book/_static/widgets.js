// Tells the widget scripts where their icons are: beside them, not beside the page.
requirejs.config({
  paths: {
    "@jupyter-widgets/html-manager": new URL("vendor/html-manager", document.currentScript.src).href,
  },
});
