"""`/`, `/ops` and the files of these pages; no request needs a key, as the files are the same for everybody."""

from calotype.error_reasons import Reason
from fastapi import APIRouter, Request, Response

from gateway.dependencies import Dependencies, DependenciesOf
from gateway.problems.problem import Problem
from gateway.web.static_files import PAGE_CACHE, StaticFile

router = APIRouter(include_in_schema=False)
_METHODS = ["GET", "HEAD"]


@router.api_route("/", methods=_METHODS)
async def studio(request: Request, deps: DependenciesOf) -> Response:
    """Returns the page on which people make and find images."""
    return _page(request, deps, "index.html")


@router.api_route("/ops", methods=_METHODS)
async def operations(request: Request, deps: DependenciesOf) -> Response:
    """Returns the page for operators, which asks for their key and shows nothing without it."""
    return _page(request, deps, "ops.html")


@router.api_route("/assets/{version}/{path:path}", methods=_METHODS)
async def asset(version: str, path: str, request: Request, deps: DependenciesOf) -> Response:
    """Returns a file that pages load."""
    if (found := deps.static_files.asset(version, path)) is None:
        raise Problem(reason=Reason.NOT_FOUND, detail="There is no such file. Reload the page.")
    file, cache = found
    return _respond(request, file, headers={"Cache-Control": cache})


def _page(request: Request, deps: Dependencies, path: str) -> Response:
    headers = {**deps.page_headers, "Cache-Control": PAGE_CACHE}
    return _respond(request, deps.static_files.page(path), headers=headers)


def _respond(request: Request, file: StaticFile, *, headers: dict[str, str]) -> Response:
    is_compressed = _accepts_gzip(request.headers.get("accept-encoding", ""))
    etag = file.etag(is_compressed=is_compressed)
    sent = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=sent)
    if is_compressed:
        sent["Content-Encoding"] = "gzip"
    body = file.compressed if is_compressed else file.body
    response = Response(body, headers=sent, media_type=file.content_type)
    if request.method == "HEAD":
        response.body = b""
    return response


def _accepts_gzip(header: str) -> bool:
    """Returns whether the client names gzip in Accept-Encoding and does not exclude it with `q=0`."""
    for part in header.lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() == "gzip":
            return parameters.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or tags == ["*"]
