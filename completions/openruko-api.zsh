#compdef openruko-api

autoload -U is-at-least

_openruko-api() {
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
'--config=[The configuration file \[default\: \$OPENRUKO_CONFIG, else /etc/openruko/config.toml\]]:PATH:_files' \
'--check[Read and judge the configuration, then end without doing anything]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_openruko-api_commands" \
"*::: :->openruko-api" \
&& ret=0
    case $state in
    (openruko-api)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-api-command-$line[1]:"
        case $line[1] in
            (copy-database)
_arguments "${_arguments_options[@]}" : \
'--from=[The database to copy\: sqlite\:///PATH or postgres\://…]:URL:_default' \
'--to=[The database to fill\: sqlite\:///PATH, which is made, or postgres\://…]:URL:_default' \
'--from-password-file=[The file with the password for --from]:PATH:_files' \
'--to-password-file=[The file with the password for --to]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_openruko-api__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-api-help-command-$line[1]:"
        case $line[1] in
            (copy-database)
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

(( $+functions[_openruko-api_commands] )) ||
_openruko-api_commands() {
    local commands; commands=(
'copy-database:Copy a whole database into an empty one, from SQLite to PostgreSQL or back' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-api commands' commands "$@"
}
(( $+functions[_openruko-api__subcmd__copy-database_commands] )) ||
_openruko-api__subcmd__copy-database_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-api copy-database commands' commands "$@"
}
(( $+functions[_openruko-api__subcmd__help_commands] )) ||
_openruko-api__subcmd__help_commands() {
    local commands; commands=(
'copy-database:Copy a whole database into an empty one, from SQLite to PostgreSQL or back' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-api help commands' commands "$@"
}
(( $+functions[_openruko-api__subcmd__help__subcmd__copy-database_commands] )) ||
_openruko-api__subcmd__help__subcmd__copy-database_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-api help copy-database commands' commands "$@"
}
(( $+functions[_openruko-api__subcmd__help__subcmd__help_commands] )) ||
_openruko-api__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-api help help commands' commands "$@"
}

if [ "$funcstack[1]" = "_openruko-api" ]; then
    _openruko-api "$@"
else
    compdef _openruko-api openruko-api
fi
