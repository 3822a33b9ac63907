"""The shelf: generated posts to read, approve and take away, and the feed of those that were approved."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from protos import shelf_pb2
from services.admin import borrowed, shelf_words
from services.admin import feed as atom
from services.admin.context import current
from services.admin.downloads import saved_as
from services.admin.paging import place
from services.admin.peers import QUICK_S
from services.admin.shelf_words import NUMBER
from services.admin.way_back import where_from
from services.client.shelf import STATES, Shelf, file_name
from services.common.errors import InvalidRequest

blueprint = Blueprint("shelf", __name__, url_prefix="/shelf")

PER_PAGE = 20
IN_FEED = 50
TABS = {"": "All", "waiting": "Waiting", "approved": "Approved", "rejected": "Rejected", "released": "Released"}
DECISIONS = {
    "approved": "“{}” is approved.",
    "rejected": "“{}” is rejected. It stays here until you remove it.",
    "waiting": "“{}” waits for a decision again.",
}


def _title(post: shelf_pb2.ShelfPost) -> str:
    return post.response.title or f"Post {post.id}"


@blueprint.get("")
def index() -> str:
    """The posts on the shelf, newest first, all or those of a state or a model."""
    here, state, model = place(), request.args.get("state", ""), request.args.get("model", "")
    wanted = shelf_pb2.ListPostsRequest(
        page_size=PER_PAGE,
        page_token=here.token,
        states=[STATES[state]] if state in STATES else [],
        model=model,
    )
    listed = current().services.shelf.ListPosts(wanted, timeout_s=QUICK_S)
    return render_template(
        "shelf.html",
        posts=listed.posts,
        total=listed.total_size,
        next_token=listed.next_page_token,
        here=here,
        tabs=TABS,
        filters={name: value for name, value in (("state", state), ("model", model)) if value},
        share=borrowed.share,
        title=_title,
        states=STATES,
        feed_address=url_for("shelf.feed", key=current().keys.feed, _external=True),
    )


@blueprint.get(NUMBER)
def show(number: int) -> str:
    """One post with what it was written with, and what it borrowed."""
    post = Shelf(current().services).get(number)
    originality = post.response.originality if post.response.HasField("originality") else None
    return render_template(
        "shelf_post.html",
        post=post,
        title=_title(post),
        marked=shelf_words.marked(post),
        settings=shelf_words.settings(post),
        making=shelf_words.making(post),
        nearest=shelf_words.nearest(post),
        originality=originality,
        told=borrowed.as_json(originality, post.response.text) if originality else None,
        file_name=file_name(post),
        states=STATES,
    )


@blueprint.post(f"{NUMBER}/review")
def review(number: int) -> AnyResponse:
    """Approve a post, reject it, or let it wait again."""
    state = request.form.get("state", "")
    if state not in DECISIONS:
        raise InvalidRequest(f"{state[:40]!r} is no decision about a post; reload the page", field="state")
    post = Shelf(current().services).review(number, state)
    flash(DECISIONS[state].format(_title(post)), "done")
    return redirect(where_from())


@blueprint.post(f"{NUMBER}/delete")
def delete(number: int) -> AnyResponse:
    """Take a post off the shelf."""
    Shelf(current().services).remove(number)
    flash(f"Post {number} is off the shelf.", "done")
    gone = url_for("shelf.show", number=number)
    back = where_from()
    return redirect(url_for("shelf.index") if back.partition("?")[0].endswith(gone) else back)


@blueprint.get(f"{NUMBER}/download")
def download(number: int) -> Response:
    """A post as the file that the blog would keep."""
    post = Shelf(current().services).get(number)
    return saved_as(post.response.markdown, file_name(post))


@blueprint.get("/feed.atom")
def feed() -> AnyResponse:
    """Approved and released posts for a feed reader; login.py says who may read it."""
    keys = current().keys
    wanted = shelf_pb2.ListPostsRequest(
        page_size=IN_FEED,
        states=[STATES["approved"], STATES["released"]],
        include_body=True,
        last_changed_first=True,  # an old post that is approved today is news
    )
    document = atom.document(
        current().services.shelf.ListPosts(wanted, timeout_s=QUICK_S).posts,
        identity=keys.feed_id,
        own_address=url_for("shelf.feed", key=keys.feed, _external=True),
        page_address=url_for("shelf.index", _external=True),
        address=lambda number: url_for("shelf.show", number=number, _external=True),
    )
    response = Response(document, content_type=f"{atom.MIMETYPE}; charset=utf-8")
    response.headers["Cache-Control"] = "private, no-cache"  # readers ask again with the tag, and get nothing twice
    response.add_etag()
    return response.make_conditional(request)
