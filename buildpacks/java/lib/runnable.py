"""Prints the path of the one jar in a directory that can be run (`java -jar`), if there is exactly one."""

import pathlib
import re
import sys
import zipfile


def main_class(path):
    """Whether the manifest of a jar names a class to run."""
    try:
        with zipfile.ZipFile(path) as jar, jar.open("META-INF/MANIFEST.MF") as manifest:
            return re.search(rb"^Main-Class:", manifest.read(1 << 16), re.MULTILINE) is not None
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


# Only names that a shell takes as they are: the path becomes part of a command.
jars = [
    path
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jar"))
    if re.fullmatch(r"[A-Za-z0-9._+-]+", path.name) and main_class(path)
]
if len(jars) == 1:
    print(jars[0])
