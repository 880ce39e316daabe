#compdef openruko-router

autoload -U is-at-least

_openruko-router() {
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
'--upgrade[Take the listening sockets over from the router that runs now, which then ends when its open requests have ended; no connection is refused in between]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
&& ret=0
}

(( $+functions[_openruko-router_commands] )) ||
_openruko-router_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-router commands' commands "$@"
}

if [ "$funcstack[1]" = "_openruko-router" ]; then
    _openruko-router "$@"
else
    compdef _openruko-router openruko-router
fi
