"""Frames and whole videos for browsers: signed, cacheable, and readable by Label Studio's canvas (CORS).

Label Studio gets only URLs; the frames are decoded from the video when they are asked for, so the two servers need no
common disk.
"""

from __future__ import annotations

import re

import cv2
from flask import Blueprint, Response, request, send_file

from tam_backend.errors import NotFoundError, UnauthorizedError
from tam_backend.video.library import VideoLibrary
from tam_backend.video.mime import mime_type

JPEG_QUALITY = 90
# A frame never changes under its URL: the id stands for the file's content (size and time of change).
_CACHE_CONTROL = "private, max-age=31536000, immutable"
# A player asks for "the rest of the file", reads a little and leaves the connection standing, which would hold a thread
# for as long as the page is open. What fits the sockets' buffers is sent and done; the player asks for the next part.
MAX_RANGE_BYTES = 2 * 1024 * 1024
_SINGLE_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def frames_blueprint(library: VideoLibrary) -> Blueprint:
    """Return the routes /frames/<video>/<index>.jpg and /videos/<video>/<name> over a library.

    Replies have an ETag, answer If-None-Match with 304 and Range (videos) with 206. Errors: 401 for a signature that
    does not fit, 404 for a video or frame that is not there.
    """
    routes = Blueprint("frames", __name__)

    @routes.get("/frames/<video_id>/<int:index>.jpg")
    def frame(video_id: str, index: int) -> Response:
        if not library.frame_signature_fits(video_id, index, request.args.get("sig", "")):
            raise _bad_signature()
        etag = f"{video_id}-{index}-q{JPEG_QUALITY}"
        if request.if_none_match.contains_weak(etag):
            reply = Response(status=304)
        else:
            image_bgr = cv2.cvtColor(library.frame(video_id, index), cv2.COLOR_RGB2BGR)
            _, jpeg = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            reply = Response(jpeg.tobytes(), mimetype="image/jpeg")
        reply.set_etag(etag)
        reply.headers["Cache-Control"] = _CACHE_CONTROL
        return reply

    @routes.get("/videos/<video_id>/<name>")
    def video(video_id: str, name: str) -> Response:  # noqa: ARG001 - the name is for people and for file extensions
        if not library.video_signature_fits(video_id, request.args.get("sig", "")):
            raise _bad_signature()
        record = library.get(video_id)
        if record.is_folder:
            raise NotFoundError(f"{record.name} is a folder of images, not a video file.", "Load its frames instead.")
        bounded = _bounded_range(request.headers.get("Range", ""))
        if bounded is not None:
            request.environ["HTTP_RANGE"] = bounded
        with library.borrow(video_id) as path:  # once it is open it may be deleted
            # The name is not sent: it need not be Unicode, and the address has it.
            reply = send_file(path, mime_type(path), conditional=True, etag=video_id, download_name="video")
        reply.headers["Cache-Control"] = _CACHE_CONTROL
        return reply

    @routes.after_app_request
    def allow_any_origin(reply: Response) -> Response:
        # By path, not by blueprint: a browser must be able to read errors too, an unknown path's among them.
        if request.path.startswith(("/frames/", "/videos/")):
            reply.headers["Access-Control-Allow-Origin"] = "*"
            reply.headers["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
            reply.headers["Access-Control-Allow-Headers"] = "Range, If-None-Match, If-Range"
            reply.headers["Access-Control-Expose-Headers"] = "Accept-Ranges, Content-Length, Content-Range, ETag"
            reply.headers["Access-Control-Max-Age"] = "86400"
            reply.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return reply

    return routes


def _bad_signature() -> UnauthorizedError:
    return UnauthorizedError(
        "The signature of this address does not fit.",
        "Use the address as `tam-backend import` wrote it; if the backend's data folder is new, import again.",
    )


def _bounded_range(header: str) -> str | None:
    """Shorten one long or open range; None leaves the header as it is."""
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2]) if match[2] else first + MAX_RANGE_BYTES - 1
    return f"bytes={first}-{min(last, first + MAX_RANGE_BYTES - 1)}"
