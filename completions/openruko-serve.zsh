#compdef openruko-serve

autoload -U is-at-least

_openruko-serve() {
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
'--config=[The configuration file]:CONFIG:_files' \
'--key=[The id of the key that sshd has checked, for the greeting]:ID:_default' \
'--check[Read the configuration and act on nothing]' \
'(--stateless-rpc)--advertise[Only say what the service offers\: the answer to git'\''s \`info/refs\`]' \
'--stateless-rpc[Answer one request of git over HTTP, read from stdin]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
'::user -- On whose behalf\: sshd has checked this user'\''s key:_default' \
":: :_openruko-serve_commands" \
"*::: :->openruko-serve" \
&& ret=0
    case $state in
    (openruko-serve)
        words=($line[2] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-serve-command-$line[2]:"
        case $line[2] in
            (keys)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:CONFIG:_files' \
'--all[Keep every key in a marked section of an authorized_keys file, for an sshd that cannot ask. Lines outside of the section stay as they are]' \
'-h[Print help]' \
'--help[Print help]' \
'::what -- As sshd gives it for %f\: `SHA256\:…`. With --all\: the file, ~/.ssh/authorized_keys if not given:_default' \
&& ret=0
;;
(builds)
_arguments "${_arguments_options[@]}" : \
'--at-a-time=[So many at a time]:NUMBER:_default' \
'--config=[The configuration file]:CONFIG:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(build)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:CONFIG:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(connect)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:CONFIG:_files' \
'-h[Print help]' \
'--help[Print help]' \
':address -- Where it is:_default' \
':port -- Where it listens:_default' \
&& ret=0
;;
(finish)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file]:CONFIG:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_openruko-serve__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:openruko-serve-help-command-$line[1]:"
        case $line[1] in
            (keys)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(builds)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(build)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(connect)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(finish)
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

(( $+functions[_openruko-serve_commands] )) ||
_openruko-serve_commands() {
    local commands; commands=(
'keys:Print the authorized_keys line of a key, for AuthorizedKeysCommand; or keep all keys in a file' \
'builds:Take up the builds of tarballs that users ask the Platform API for, as a service' \
'build:Carry out the build on stdin' \
'connect:Connect to a container'\''s sshd, for ssh'\''s ProxyCommand' \
'finish:Finish a push whose client was answered' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-serve commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__build_commands] )) ||
_openruko-serve__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve build commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__builds_commands] )) ||
_openruko-serve__subcmd__builds_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve builds commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__connect_commands] )) ||
_openruko-serve__subcmd__connect_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve connect commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__finish_commands] )) ||
_openruko-serve__subcmd__finish_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve finish commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help_commands] )) ||
_openruko-serve__subcmd__help_commands() {
    local commands; commands=(
'keys:Print the authorized_keys line of a key, for AuthorizedKeysCommand; or keep all keys in a file' \
'builds:Take up the builds of tarballs that users ask the Platform API for, as a service' \
'build:Carry out the build on stdin' \
'connect:Connect to a container'\''s sshd, for ssh'\''s ProxyCommand' \
'finish:Finish a push whose client was answered' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'openruko-serve help commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__build_commands] )) ||
_openruko-serve__subcmd__help__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help build commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__builds_commands] )) ||
_openruko-serve__subcmd__help__subcmd__builds_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help builds commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__connect_commands] )) ||
_openruko-serve__subcmd__help__subcmd__connect_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help connect commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__finish_commands] )) ||
_openruko-serve__subcmd__help__subcmd__finish_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help finish commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__help_commands] )) ||
_openruko-serve__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help help commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__help__subcmd__keys_commands] )) ||
_openruko-serve__subcmd__help__subcmd__keys_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve help keys commands' commands "$@"
}
(( $+functions[_openruko-serve__subcmd__keys_commands] )) ||
_openruko-serve__subcmd__keys_commands() {
    local commands; commands=()
    _describe -t commands 'openruko-serve keys commands' commands "$@"
}

if [ "$funcstack[1]" = "_openruko-serve" ]; then
    _openruko-serve "$@"
else
    compdef _openruko-serve openruko-serve
fi
