# shellcheck shell=bash

# Names that config vars must not change while an app is built.
denied='^(PATH|GIT_.*|CPATH|CPPATH|LD_PRELOAD|LD_LIBRARY_PATH|LIBRARY_PATH|LANG|HOME|STACK|REQUEST_ID|SOURCE_VERSION|DYNO|PWD|OLDPWD|IFS|BASH_ENV|ENV|TMPDIR|BUILD_DIR|CACHE_DIR|ENV_DIR|CARGO_HOME|CARGO_TARGET_DIR|RUSTUP_.*)$'

# Exports the config vars: a file for each in the directory $1.
export_config_vars() {
  local file name
  for file in "$1"/*; do
    name=${file##*/}
    if [ -f "$file" ] && [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && ! [[ $name =~ $denied ]]; then
      export "$name=$(cat "$file")"
    fi
  done
}

# Indents what a command prints, line by line as it comes.
indent() {
  sed -u 's/^/       /'
}

# Ends the build unless the stack has these programs: need LANGUAGE PACKAGES PROGRAM...
need() {
  local language=$1 packages=$2 program
  shift 2
  for program in "$@"; do
    if ! command -v "$program" >/dev/null; then
      echo " !     This stack has no $language ($program is missing): install $packages on the node, or use a stack" >&2
      echo " !     that has it." >&2
      exit 1
    fi
  done
}

# Copies a tree: links to the same files where that can be done, which takes no time and no room.
copy() {
  mkdir -p "$(dirname "$2")"
  cp -al "$1" "$2" 2>/dev/null || { rm -rf "$2" && cp -a "$1" "$2"; }
}

# Empties a directory that has grown beyond so many megabytes: bound DIR MEGABYTES.
bound() {
  if [ -d "$1" ] && [ "$(du -sm "$1" | cut -f 1)" -gt "$2" ]; then
    echo "-----> The cache is larger than $2 MB and begins anew"
    rm -rf "$1"
  fi
}
