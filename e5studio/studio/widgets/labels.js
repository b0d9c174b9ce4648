// Labels of our own components in the visitor's language (e5studio/studio/widgets/labels.py).
const translated = (text) => window.gradio_config?.i18n_translations?.[document.documentElement.lang]?.[text] ?? text;
const onLanguage = (act) =>
  new MutationObserver(act).observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });
