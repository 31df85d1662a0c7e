// Tells the widget scripts where their fonts are: beside them, not beside the page.
window.__jupyter_widgets_assets_path__ = new URL(
  "vendor/html-manager/dist/",
  document.currentScript.src,
).href;
