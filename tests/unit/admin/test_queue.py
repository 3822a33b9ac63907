"""The page's queue, repeats and marks."""

from protos import trainer_pb2


def a_run(name, place=0, **facts):
    state = trainer_pb2.RUN_STATE_PENDING if place else trainer_pb2.RUN_STATE_SUCCEEDED
    run = trainer_pb2.Run(name=name, state=state, queue_position=place, base="nano", **facts)
    run.settings.steps, run.settings.keep = 400, 5
    return run


def asked(services, kind):
    (request,) = services.trainer.asked(kind)
    return request


def test_waiting_runs_stand_in_their_order_with_what_can_be_done(client, services):
    runs = [a_run("c", 1), a_run("a", 2), a_run("done"), a_run("b", 3)]
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=runs))
    page = client.get("/runs").text
    queue = page[page.index('id="queue"') : page.index("</ol>")]
    titles = [part.partition("<")[0] for part in queue.split('class="row-title"')[1:]]
    assert [title.rpartition(">")[2] for title in titles] == ["c", "a", "b"]
    assert 'aria-label="Move c up"' not in queue and 'aria-label="Move c down"' in queue
    assert 'aria-label="Move b up"' in queue and 'aria-label="Move b down"' not in queue
    assert queue.count('aria-label="Cancel') == 3


def test_with_more_runs_than_fit_the_page_the_queue_is_still_whole(client, services):
    def listed(request):
        if request.page_size == 30:
            return trainer_pb2.ListRunsResponse(runs=[a_run("new", 2)], next_page_token="1")
        return trainer_pb2.ListRunsResponse(runs=[a_run("new", 2), a_run("old", 1)])

    services.trainer.answer("ListRuns", listed)
    assert 'aria-label="Cancel old"' in client.get("/runs").text


def test_without_waiting_runs_there_is_no_queue(client, services):
    services.trainer.answer("ListRuns", trainer_pb2.ListRunsResponse(runs=[a_run("done")]))
    assert 'id="queue"' not in client.get("/runs").text


def test_a_run_is_moved_cancelled_and_repeated(client, services, csrf):
    services.trainer.answer("MoveRun", trainer_pb2.MoveRunResponse(run=a_run("a", 1)))
    services.trainer.answer("RepeatRun", trainer_pb2.RepeatRunResponse(run=a_run("a-2", 1)))
    services.trainer.answer("GetRun", trainer_pb2.GetRunResponse(run=a_run("a-2", 1)))
    moved = client.post("/runs/a/move", data={"csrf_token": csrf, "place": "1"}, follow_redirects=True)
    assert "a is next in the queue." in moved.text
    assert asked(services, trainer_pb2.MoveRunRequest).queue_position == 1
    left = client.post("/runs/a/stop", data={"csrf_token": csrf, "waiting": "y"}, follow_redirects=True)
    assert "a has left the queue." in left.text
    repeated = client.post("/runs/a/repeat", data={"csrf_token": csrf})
    assert repeated.location == "/runs/a-2"
    wrong = client.post("/runs/a/move", data={"csrf_token": csrf, "place": "up"}, follow_redirects=True)
    assert "no number that place can have" in wrong.text


def test_checkpoints_are_shown_with_their_marks_and_marked(client, services, csrf):
    run = a_run("a", environment={"tensorflow": "2.21.0"}, dataset="d", dataset_digest="0123456789abcdef")
    run.ended_because = "its last step, 400, is done"
    checkpoints = [
        trainer_pb2.Checkpoint(run="a", step=10, best=True),
        trainer_pb2.Checkpoint(run="a", step=20, marked=True),
    ]
    services.trainer.answer("GetRun", trainer_pb2.GetRunResponse(run=run))
    services.trainer.answer("ListCheckpoints", trainer_pb2.ListCheckpointsResponse(checkpoints=checkpoints))
    page = client.get("/runs/a").text
    for words in ("best</span>", "marked</span>", "2.21.0", "digest 0123456789ab", "Its last step, 400, is done"):
        assert words in page
    marked = trainer_pb2.Checkpoint(run="a", step=10, marked=True)
    services.trainer.answer("MarkCheckpoint", trainer_pb2.MarkCheckpointResponse(checkpoint=marked))
    told = client.post("/runs/a/checkpoints/10/mark", data={"csrf_token": csrf, "marked": "y"}, follow_redirects=True)
    assert "at step 10 is kept until you delete it" in told.text
    request = asked(services, trainer_pb2.MarkCheckpointRequest)
    assert (request.run, request.step, request.marked) == ("a", 10, True)


def test_a_version_is_marked_and_unmarked(client, services, csrf):
    versions = [trainer_pb2.ModelVersion(model="a", version=1, marked=True)]
    model = trainer_pb2.Model(name="a", versions=versions)
    services.trainer.answer("ListModels", trainer_pb2.ListModelsResponse(models=[model]))
    assert "Keep no longer" in client.get("/models").text
    told = client.post("/models/a/mark", data={"csrf_token": csrf, "version": "1"}, follow_redirects=True)
    assert "may go when newer ones come" in told.text
    assert not asked(services, trainer_pb2.MarkModelVersionRequest).marked


def test_publishing_says_which_versions_went_for_it(client, services, csrf):
    version = trainer_pb2.ModelVersion(model="a", version=7)
    answer = trainer_pb2.PublishModelResponse(version=version, deleted_versions=[1, 2])
    services.trainer.answer("PublishModel", answer)
    told = client.post("/runs/a/publish", data={"csrf_token": csrf}, follow_redirects=True)
    assert "these versions were deleted: 1, 2." in told.text
