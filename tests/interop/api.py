"""The operator's JSON API, judged by others: openapi-spec-validator reads its document, and jsonschema holds what the
server answers against the schemas in it.
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request

import jsonschema
from openapi_spec_validator import validate


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        ready = json.load(file)
    base, binary = ready.get("api"), sys.argv[2] if len(sys.argv) > 2 else None
    if not base or not binary:
        print("skipped the operator's API: no lab of ours")
        return
    with urllib.request.urlopen(f"{base}/openapi.json", timeout=20) as answer:
        document = json.load(answer)
    validate(document)
    made = subprocess.run(
        [binary, "--data-dir", ready["data"], "token", "add", "interop", "--role", "owner", "--json"],
        check=True, capture_output=True, text=True)
    token = json.loads(made.stdout)["token"]
    registry = {"components": document["components"]}
    checked = 0
    for path, methods in document["paths"].items():
        for method, verb in methods.items():
            if method != "get" or "{" in path:
                continue
            body = ask(base, path, token)
            schema = verb["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.Draft202012Validator({**schema, **registry}).validate(body)
            checked += 1
    # What the server refuses is a problem, as the document says.
    try:
        ask(base, "/api/v1/accounts/nobody@localhost", token)
        raise SystemExit("nobody is there")
    except urllib.error.HTTPError as error:
        schema = {"$ref": "#/components/schemas/Problem", **registry}
        jsonschema.Draft202012Validator(schema).validate(json.load(error))
    print(f"ok: the operator's API: a valid document of {len(document['paths'])} paths, {checked} answers as it says")


def ask(base, path, token):
    url = base.removesuffix("/api/v1") + path
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
