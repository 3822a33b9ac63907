// The page that shows how far the preparation of a run is.

const job = document.getElementById("job");
const stage = job.querySelector(".stage");
const bar = job.querySelector("progress");
const problem = job.querySelector(".problem");

const events = new EventSource(job.dataset.events);
events.addEventListener("job", (event) => {
  const now = JSON.parse(event.data);
  stage.textContent = now.total ? `${now.message}: ${now.done.toLocaleString()} of ${now.total.toLocaleString()}` : `${now.message} …`;
  if (now.total) {
    bar.max = now.total;
    bar.value = now.done;
  } else bar.removeAttribute("value");
  if (now.state === "started") {
    events.close();
    window.location.replace(job.dataset.run);
  } else if (now.state === "failed") {
    events.close();
    stage.hidden = true;
    bar.hidden = true;
    job.querySelector(".hint").hidden = true;
    problem.hidden = false;
    problem.querySelector("strong").textContent = now.problem.message;
    problem.querySelector("span").textContent = now.problem.remedy;
    document.getElementById("back").hidden = false;
  }
});
