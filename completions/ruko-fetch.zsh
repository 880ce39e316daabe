#compdef ruko-fetch

autoload -U is-at-least

_ruko-fetch() {
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
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_ruko-fetch_commands" \
"*::: :->ruko-fetch" \
&& ret=0
    case $state in
    (ruko-fetch)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-fetch-command-$line[1]:"
        case $line[1] in
            (get)
_arguments "${_arguments_options[@]}" : \
'-o+[A file that is written whole or not at all; \`-\` is stdout]:FILE:_files' \
'--output=[A file that is written whole or not at all; \`-\` is stdout]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':url -- Where the object is stored:_default' \
&& ret=0
;;
(put)
_arguments "${_arguments_options[@]}" : \
'-i+[The file to store; \`-\` is stdin]:FILE:_files' \
'--input=[The file to store; \`-\` is stdin]:FILE:_files' \
'--max-bytes=[Refuse more than this many bytes]:N:_default' \
'--json[Print one JSON object]' \
'-h[Print help]' \
'--help[Print help]' \
':url -- Where the object is to be stored:_default' \
&& ret=0
;;
(extract)
_arguments "${_arguments_options[@]}" : \
'--into=[The directory, which exists]:DIR:_files' \
'--max-bytes=[Refuse files of together more than this many bytes]:N:_default' \
'--max-entries=[Refuse more than this many files, directories and links]:N:_default' \
'--links=[Where symbolic links in the archive may point]:LINKS:((inside\:"Beneath the directory"
any\:"Anywhere; slugs contain links to /app"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::archive -- The archive; `-` is stdin:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ruko-fetch__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-fetch-help-command-$line[1]:"
        case $line[1] in
            (get)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(put)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(extract)
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

(( $+functions[_ruko-fetch_commands] )) ||
_ruko-fetch_commands() {
    local commands; commands=(
'get:Write an object to stdout or to a file' \
'put:Store stdin or a file as an object, and print its size in bytes and its SHA-256' \
'extract:Unpack a tar.gz beneath a directory' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-fetch commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__extract_commands] )) ||
_ruko-fetch__subcmd__extract_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch extract commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__get_commands] )) ||
_ruko-fetch__subcmd__get_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch get commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__help_commands] )) ||
_ruko-fetch__subcmd__help_commands() {
    local commands; commands=(
'get:Write an object to stdout or to a file' \
'put:Store stdin or a file as an object, and print its size in bytes and its SHA-256' \
'extract:Unpack a tar.gz beneath a directory' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-fetch help commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__help__subcmd__extract_commands] )) ||
_ruko-fetch__subcmd__help__subcmd__extract_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch help extract commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__help__subcmd__get_commands] )) ||
_ruko-fetch__subcmd__help__subcmd__get_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch help get commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__help__subcmd__help_commands] )) ||
_ruko-fetch__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch help help commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__help__subcmd__put_commands] )) ||
_ruko-fetch__subcmd__help__subcmd__put_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch help put commands' commands "$@"
}
(( $+functions[_ruko-fetch__subcmd__put_commands] )) ||
_ruko-fetch__subcmd__put_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-fetch put commands' commands "$@"
}

if [ "$funcstack[1]" = "_ruko-fetch" ]; then
    _ruko-fetch "$@"
else
    compdef _ruko-fetch ruko-fetch
fi
