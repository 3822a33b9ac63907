// The drop zone of the posts page: finds files in dropped folders, leaves out what cannot be a post, shows progress.

const form = document.querySelector(".drop");
const zone = form.querySelector(".drop-zone");
const progress = form.querySelector(".drop-progress");
const status = progress.querySelector("p");
const bar = progress.querySelector("progress");
const suffixes = form.dataset.suffixes.split(" ");
const bundles = form.dataset.bundles.split(" "); // archives and exports: files that hold many posts
const exports = form.dataset.exports.split(" ");
const limits = {
  post: Number(form.dataset.maxPost),
  bytes: Number(form.dataset.maxBytes),
  posts: Number(form.dataset.maxPosts),
};

const mebibytes = (bytes) => `${(bytes / 1048576).toFixed(bytes < 10485760 ? 1 : 0)} MiB`;
const isHidden = (path) => path.split("/").some((part) => part.startsWith("."));
const endsWithAny = (path, endings) => endings.some((ending) => path.toLowerCase().endsWith(ending));
const exportMarks = /wordpress\.org\/export\/|"(?:posts|posts_tags|mobiledoc|lexical|rendered|html|markdown|content)"\s*:/;
const suffixOf = (path) => (path.match(/\.[^./]+$/) || [""])[0].toLowerCase();

function say(text, share) {
  progress.hidden = false;
  status.textContent = text;
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

function complain(text) {
  zone.classList.remove("busy");
  progress.hidden = true;
  const flash = document.createElement("p");
  flash.className = "flash problem";
  flash.textContent = text;
  document.querySelector(".flashes").replaceChildren(flash);
}

// [{path, file}] -> what to send, and [path, code, message] of what not to.
async function sort(found) {
  const posts = [];
  const skipped = [];
  for (const { path, file } of found) {
    if (isHidden(path)) continue; // .git and its like are nobody's posts
    if (endsWithAny(path, bundles)) {
      // Folders hold other JSON and XML files; one that was chosen by itself is for the service to judge.
      const isOther = found.length > 1 && endsWithAny(path, exports)
        && !exportMarks.test(await file.slice(0, 65536).text().catch(() => ""));
      if (isOther) skipped.push([path, "UNKNOWN_KIND", "no export of Ghost or WordPress by its first lines"]);
      else posts.push({ path, file });
    } else if (!suffixes.includes(suffixOf(path))) skipped.push([path, "UNKNOWN_KIND", `not one of ${suffixes.join(" ")}`]);
    else if (file.size > limits.post) {
      skipped.push([path, "TOO_LARGE", `${mebibytes(file.size)}, and a post may have ${mebibytes(limits.post)}`]);
    } else posts.push({ path, file });
  }
  return { posts, skipped };
}

async function send(found) {
  const { posts, skipped } = await sort(found);
  const bytes = posts.reduce((sum, post) => sum + post.file.size, 0);
  const larger = "Send it in parts, or use: nonesuch posts add FOLDER.";
  if (!posts.length) return complain(`There is no post in it. Posts are files that end in ${[...suffixes, ...bundles].join(", ")}.`);
  if (posts.length > limits.posts) return complain(`That is ${posts.length} posts, and ${limits.posts} can be sent at once. ${larger}`);
  if (bytes > limits.bytes) return complain(`That is ${mebibytes(bytes)}, and ${mebibytes(limits.bytes)} can be sent at once. ${larger}`);

  const body = new FormData();
  body.append("csrf_token", form.elements.csrf_token.value);
  body.append("corpus", form.elements.corpus.value);
  body.append("skipped", JSON.stringify(skipped));
  for (const { path, file } of posts) body.append("files", file, path);

  const words = posts.length === 1 ? "1 file" : `${posts.length} files`;
  const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("X-CSRFToken", form.elements.csrf_token.value);
  request.responseType = "json";
  request.upload.onprogress = (event) => event.lengthComputable && say(`Sending ${words} …`, event.loaded / event.total);
  request.upload.onload = () => say(`Cleaning ${words} …`);
  request.onerror = () => complain("The connection broke before everything was sent. Nothing was taken in; try again.");
  request.onload = () => {
    const answer = request.response || {};
    if (answer.address) window.location = answer.address;
    else complain(`${answer.message || "The upload failed."} ${answer.remedy || ""}`);
  };
  zone.classList.add("busy");
  say(`Sending ${words} …`, 0);
  request.send(body);
}

// A dropped entry and all below it, as [{path, file}].
async function walk(entry, path) {
  if (isHidden(path)) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    return file ? [{ path, file }] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const batch = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([]))); // 100 at a time
    if (!batch.length) return found;
    for (const child of batch) found.push(...(await walk(child, `${path}/${child.name}`)));
  }
}

for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    send([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
    input.value = "";
  });
}

// Enter in the corpus's name shows that corpus; without files there is nothing to send.
form.addEventListener("submit", (event) => {
  event.preventDefault();
  window.location = `/posts?corpus=${encodeURIComponent(form.elements.corpus.value)}`;
});

let depth = 0;
zone.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; zone.classList.add("over"); });
zone.addEventListener("dragleave", () => { depth -= 1; if (!depth) zone.classList.remove("over"); });
zone.addEventListener("dragover", (event) => event.preventDefault());
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  depth = 0;
  zone.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  say("Looking at what you dropped …");
  const found = [];
  for (const entry of entries) found.push(...(await walk(entry, entry.name)));
  send(found);
});
// A file that misses the zone must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
