"""Uploads (XEP-0363): slixmpp and curl put files where the server says, and others fetch them byte for byte."""

import asyncio
import hashlib
import os
import sys
import tempfile

from common import Lab, main, within
from slix import User

# What aiohttp trusts: it is read when the first connection is made.
os.environ["SSL_CERT_FILE"] = Lab(sys.argv[1]).ca


class Uploader(User):
    def __init__(self, lab, name, way):
        super().__init__(lab, name, way, "upload")
        for plugin in ("xep_0066", "xep_0363", "xep_0050", "xep_0004"):
            self.register_plugin(plugin)


def some_file(size):
    """Bytes that differ wherever one looks."""
    return b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(size // 32 + 1))[:size]


async def curl(*args):
    """What curl wrote, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--cacert", os.environ["SSL_CERT_FILE"], *args,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await within(process.communicate(), "curl")
    return out, err.decode(), process.returncode


async def slixmpp_uploads_and_curl_fetches(lab, way):
    alice = await Uploader(lab, "alice", way).go_online(available=False)
    content = some_file(1_234_567)
    with tempfile.NamedTemporaryFile(suffix=".jpg", prefix="très cool ") as file:
        file.write(content)
        file.flush()
        # It finds the service by itself.
        url = await within(alice["xep_0363"].upload_file(file.name), "the upload")
    for version in ("--http1.1", "--http2"):
        got, err, code = await curl(version, url)
        assert (code, got) == (0, content), (version, code, err, len(got))
    got, err, code = await curl("--range", "1000000-1000999", url)
    assert got == content[1_000_000:1_001_000], (code, err, len(got))
    head, err, code = await curl("--head", url)
    head = head.decode().lower()
    assert "content-type: image/jpeg" in head and "nosniff" in head, head
    await alice.leave()


async def curl_uploads(lab, way):
    alice = await Uploader(lab, "alice", way).go_online(available=False)
    upload = alice["xep_0363"]
    content = some_file(3_000_000)
    service = (await within(upload.find_upload_service(), "the service"))["from"]
    with tempfile.TemporaryDirectory() as folder:
        path, copy = os.path.join(folder, "a.bin"), os.path.join(folder, "b.bin")
        with open(path, "wb") as file:
            file.write(content)
        for version in ("--http1.1", "--http2"):
            slot = await within(
                upload.request_slot(service, "a.bin", len(content), "application/octet-stream"), "a slot"
            )
            put, get = (slot["http_upload_slot"][way]["url"] for way in ("put", "get"))
            told = ("--write-out", "%{http_code}", "--output", os.devnull)
            kind = ("--header", "Content-Type: application/octet-stream")
            out, err, code = await curl(version, *told, *kind, "--upload-file", path, put)
            assert out == b"201", (version, out, err, code)
            # TODO over HTTP/2 a refusal before the body is read is lost: the stream is reset before it is seen.
            out, err, code = await curl("--http1.1", *told, *kind, "--upload-file", path, put)
            assert out == b"409", ("a slot is good once", version, out, err, code)
            # A download that was cut off goes on where it was.
            with open(copy, "wb") as file:
                file.write(content[:1_000_000])
            _, err, code = await curl(version, "--continue-at", "-", "--output", copy, get)
            with open(copy, "rb") as file:
                assert file.read() == content, (version, code, err)
            os.remove(copy)
    await alice.leave()


async def each_purpose_is_taken(lab, way):
    alice = await Uploader(lab, "alice", way).go_online(available=False)
    content = some_file(1_000)
    for purpose in ("message", "profile", "permanent"):
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            file.write(content)
            file.flush()
            upload = alice["xep_0363"].upload_file(file.name, purpose=purpose)
            url = await within(upload, f"the upload for {purpose}")
        got, err, code = await curl(url)
        assert got == content, (purpose, code, err)
    await alice.leave()


async def a_file_that_is_too_large_is_refused(lab, way):
    alice = await Uploader(lab, "alice", way).go_online(available=False)
    upload = alice["xep_0363"]
    service = (await within(upload.find_upload_service(), "the service"))["from"]
    try:
        await within(upload.request_slot(service, "a", 10**12, "text/plain"), "an answer")
        raise AssertionError("a slot for 1 TB")
    except Exception as error:
        assert getattr(error, "condition", None) == "not-acceptable", error
    await alice.leave()


async def its_owner_lists_and_deletes_it(lab, way):
    alice = await Uploader(lab, "carol", way).go_online(available=False)
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"short")
        file.flush()
        url = await within(alice["xep_0363"].upload_file(file.name), "the upload")
    run = alice["xep_0050"].send_command
    own = alice.boundjid.bare
    told = await within(run(own, "list-files"), "the list")
    assert url in str(told), told
    form = await within(run(own, "delete-files"), "the form")
    session = form["command"]["sessionid"]
    answer = alice["xep_0004"].make_form(ftype="submit")
    answer.add_field(var="files", ftype="list-multi", value=[url.split("/")[-2]])
    done = await within(
        run(own, "delete-files", action="complete", payload=answer, sessionid=session), "the end"
    )
    assert done["command"]["status"] == "completed", done
    out, err, code = await curl("--write-out", "%{http_code}", "--output", os.devnull, url)
    assert out == b"404", (out, err, code)
    await alice.leave()


if __name__ == "__main__":
    main("upload", [
        slixmpp_uploads_and_curl_fetches,
        curl_uploads,
        each_purpose_is_taken,
        a_file_that_is_too_large_is_refused,
        its_owner_lists_and_deletes_it,
    ])
