# shellcheck shell=bash

# Names that config vars must not change while an app is built.
denied='^(PATH|GIT_.*|CPATH|CPPATH|LD_PRELOAD|LD_LIBRARY_PATH|LIBRARY_PATH|LANG|HOME|STACK|REQUEST_ID|SOURCE_VERSION|DYNO|PWD|OLDPWD|IFS|BASH_ENV|ENV|TMPDIR|BUILD_DIR|CACHE_DIR|ENV_DIR)$'

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
