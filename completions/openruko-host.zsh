#compdef openruko-host

autoload -U is-at-least

_openruko-host() {
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
":: :_openruko-host_commands" \
"*::: :->openruko-host" \
&& ret=0
    case $state in
    (openruko-host)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-host-command-$line[1]:"
        case $line[1] in
            (dyno)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:PATH:_files' \
'--handed-over[The socket to listen on is stdin, and stdout holds the lock]' \
'-h[Print help]' \
'--help[Print help]' \
':dir -- The directory:_files' \
&& ret=0
;;
(image)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':image -- The image:_files' \
&& ret=0
;;
(stop)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_openruko-host__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-host-help-command-$line[1]:"
        case $line[1] in
            (dyno)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(image)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stop)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_openruko-host_commands] )) ||
_openruko-host_commands() {
    local commands; commands=(
'dyno:Supervise the dyno of a directory below \`state_dir\`; the agent starts this' \
'image:Make the image of a slug, whose tar.gz is read from stdin; the agent starts this' \
'stop:Stop all dynos of this node and wait for their end' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-host commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__dyno_commands] )) ||
_openruko-host__subcmd__dyno_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host dyno commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__help_commands] )) ||
_openruko-host__subcmd__help_commands() {
    local commands; commands=(
'dyno:Supervise the dyno of a directory below \`state_dir\`; the agent starts this' \
'image:Make the image of a slug, whose tar.gz is read from stdin; the agent starts this' \
'stop:Stop all dynos of this node and wait for their end' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-host help commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__help__subcmd__dyno_commands] )) ||
_openruko-host__subcmd__help__subcmd__dyno_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host help dyno commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__help__subcmd__help_commands] )) ||
_openruko-host__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host help help commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__help__subcmd__image_commands] )) ||
_openruko-host__subcmd__help__subcmd__image_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host help image commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__help__subcmd__stop_commands] )) ||
_openruko-host__subcmd__help__subcmd__stop_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host help stop commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__image_commands] )) ||
_openruko-host__subcmd__image_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host image commands' commands "$@"
}
(( $+functions[_openruko-host__subcmd__stop_commands] )) ||
_openruko-host__subcmd__stop_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-host stop commands' commands "$@"
}

if [ "$funcstack[1]" = "_openruko-host" ]; then
    _openruko-host "$@"
else
    compdef _openruko-host openruko-host
fi
