// Brings to the page what the hash of its own link carries. Given by Gradio: trigger.
async function unpack(packed) {
  const binary = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
}

async function open() {
  const match = /^#s=([\w-]+)$/.exec(location.hash);
  if (!match) return;
  try {
    trigger("opened", { state: await unpack(match[1]) });
  } catch {
    trigger("opened", { state: null });
  }
}

addEventListener("hashchange", open);
open();
