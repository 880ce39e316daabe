"""Prints the directory of a static site, relative to the app's top: `root` of static.json, else `public` if
it has an index.html and the top has none, else the top itself."""

import json
import os
import sys


def refuse(why):
    print(f" !     {why}", file=sys.stderr)
    sys.exit(1)


def configured(app):
    path = os.path.join(app, "static.json")
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8-sig") as file:
            config = json.load(file)
    except (OSError, ValueError) as error:
        refuse(f"static.json cannot be read: {error}")
    if not isinstance(config, dict):
        refuse("static.json is not a JSON object")
    root = config.get("root")
    if root is not None and not isinstance(root, str):
        refuse("`root` in static.json is not a text")
    return root


def is_inside(app, root):
    app, path = os.path.realpath(app), os.path.realpath(os.path.join(app, root))
    return os.path.commonpath([app, path]) == app


def main(app):
    root = configured(app)
    if root is None:
        top = os.path.isfile(os.path.join(app, "index.html"))
        public = os.path.isfile(os.path.join(app, "public", "index.html"))
        root = "public" if public and not top else "."
    root = os.path.normpath(root.strip("/") or ".")
    if any(ord(c) < 32 for c in root) or not is_inside(app, root):
        refuse("`root` in static.json is not a directory of the app")
    if not os.path.isdir(os.path.join(app, root)):
        refuse(f"the directory `{root}` that static.json names is not there")
    print(root)


main(sys.argv[1])
