#compdef openruko-git

autoload -U is-at-least

_openruko-git() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:PATH:_files' \
'--check[Read and judge the configuration, then end without doing anything]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
&& ret=0
}

(( $+functions[_openruko-git_commands] )) ||
_openruko-git_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-git commands' commands "$@"
}

if [ "$funcstack[1]" = "_openruko-git" ]; then
    _openruko-git "$@"
else
    compdef _openruko-git openruko-git
fi
