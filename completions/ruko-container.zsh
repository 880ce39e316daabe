#compdef ruko-container

autoload -U is-at-least

_ruko-container() {
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
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'--check[Read the configuration, act on nothing]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_ruko-container_commands" \
"*::: :->ruko-container" \
&& ret=0
    case $state in
    (ruko-container)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-container-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(start)
_arguments "${_arguments_options[@]}" : \
'--client-key=[The file of the public key that may log in]:FILE:_files' \
'--template=[What lays it out \[default\: openruko-build; with --stack openruko-stack\]]:TEMPLATE:_default' \
'--stack=[The stack image that it has, as \`stack list\` shows it \[default\: this machine'\''s own /usr\]]:STACK:_default' \
'--seconds=[How long it may last in seconds \[default\: \`max.build_seconds\` of \[container\]\]]:SECONDS:_default' \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'--json[As the JSON document that \`run\` prints]' \
'-h[Print help]' \
'--help[Print help]' \
':name -- Its name:_default' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'--json[As one JSON document]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(reap)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'--json[As one JSON document]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(exec)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- The container:_default' \
'*::command -- The command with its arguments:_default' \
&& ret=0
;;
(stop)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- The container:_default' \
&& ret=0
;;
(destroy)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- The container:_default' \
&& ret=0
;;
(setup)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(stack)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
":: :_ruko-container__subcmd__stack_commands" \
"*::: :->stack" \
&& ret=0

    case $state in
    (stack)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-container-stack-command-$line[1]:"
        case $line[1] in
            (build)
_arguments "${_arguments_options[@]}" : \
'--suite=[The release of Debian]:SUITE:_default' \
'--mirror=[Where its packages are \[default\: Debian'\''s own servers, with security updates\]]:URL:_default' \
'*--packages=[Packages, separated by commas, besides those that containers cannot do without (ca-certificates, git, openssh-server) \[default\: what buildpacks look for\: build-essential, curl, gzip, jq, openssl, python3 with pip and venv, tar, unzip, xz-utils, zip\]]:LIST:_default' \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- Its name:_default' \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- Its name:_default' \
':tar -- A tar archive, perhaps packed by gzip; `-` is stdin, not packed:_files' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'--json[As one JSON document]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
':name -- Its name:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ruko-container__subcmd__stack__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-container-stack-help-command-$line[1]:"
        case $line[1] in
            (build)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
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
;;
(teardown)
_arguments "${_arguments_options[@]}" : \
'--config=[The configuration file; only root may be able to write it]:PATH:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ruko-container__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-container-help-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(start)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(reap)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(exec)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stop)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(destroy)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(setup)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stack)
_arguments "${_arguments_options[@]}" : \
":: :_ruko-container__subcmd__help__subcmd__stack_commands" \
"*::: :->stack" \
&& ret=0

    case $state in
    (stack)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-container-help-stack-command-$line[1]:"
        case $line[1] in
            (build)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(teardown)
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

(( $+functions[_ruko-container_commands] )) ||
_ruko-container_commands() {
    local commands; commands=(
'run:Run one container\: its specification is the first line of stdin, events are lines of stdout, and the end of stdin ends it' \
'start:Run one container in the background, until \`stop\` or its time limit' \
'list:Show the containers of this configuration' \
'reap:Destroy what has no owner any more' \
'exec:Run a command in a container as its user' \
'stop:Stop a container; its owner destroys it' \
'destroy:Stop a container and wait until nothing of it is left' \
'setup:Prepare this machine\: id ranges, bridge, packet filter' \
'stack:Make, show and remove stack images\: root file systems that builds and dynos have instead of this machine'\''s /usr' \
'teardown:Remove bridge and packet filter again' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-container commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__destroy_commands] )) ||
_ruko-container__subcmd__destroy_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container destroy commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__exec_commands] )) ||
_ruko-container__subcmd__exec_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container exec commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help_commands] )) ||
_ruko-container__subcmd__help_commands() {
    local commands; commands=(
'run:Run one container\: its specification is the first line of stdin, events are lines of stdout, and the end of stdin ends it' \
'start:Run one container in the background, until \`stop\` or its time limit' \
'list:Show the containers of this configuration' \
'reap:Destroy what has no owner any more' \
'exec:Run a command in a container as its user' \
'stop:Stop a container; its owner destroys it' \
'destroy:Stop a container and wait until nothing of it is left' \
'setup:Prepare this machine\: id ranges, bridge, packet filter' \
'stack:Make, show and remove stack images\: root file systems that builds and dynos have instead of this machine'\''s /usr' \
'teardown:Remove bridge and packet filter again' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-container help commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__destroy_commands] )) ||
_ruko-container__subcmd__help__subcmd__destroy_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help destroy commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__exec_commands] )) ||
_ruko-container__subcmd__help__subcmd__exec_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help exec commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__help_commands] )) ||
_ruko-container__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help help commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__list_commands] )) ||
_ruko-container__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help list commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__reap_commands] )) ||
_ruko-container__subcmd__help__subcmd__reap_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help reap commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__run_commands] )) ||
_ruko-container__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help run commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__setup_commands] )) ||
_ruko-container__subcmd__help__subcmd__setup_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help setup commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stack_commands] )) ||
_ruko-container__subcmd__help__subcmd__stack_commands() {
    local commands; commands=(
'build:Make a stack, or make it anew, of Debian'\''s packages' \
'import:Make a stack, or make it anew, of a root file system that is there already' \
'list:Show the stacks of this machine' \
'remove:Remove a stack that no container has' \
    )
    _describe -t commands 'ruko-container help stack commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stack__subcmd__build_commands] )) ||
_ruko-container__subcmd__help__subcmd__stack__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help stack build commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stack__subcmd__import_commands] )) ||
_ruko-container__subcmd__help__subcmd__stack__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help stack import commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stack__subcmd__list_commands] )) ||
_ruko-container__subcmd__help__subcmd__stack__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help stack list commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stack__subcmd__remove_commands] )) ||
_ruko-container__subcmd__help__subcmd__stack__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help stack remove commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__start_commands] )) ||
_ruko-container__subcmd__help__subcmd__start_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help start commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__stop_commands] )) ||
_ruko-container__subcmd__help__subcmd__stop_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help stop commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__help__subcmd__teardown_commands] )) ||
_ruko-container__subcmd__help__subcmd__teardown_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container help teardown commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__list_commands] )) ||
_ruko-container__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container list commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__reap_commands] )) ||
_ruko-container__subcmd__reap_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container reap commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__run_commands] )) ||
_ruko-container__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container run commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__setup_commands] )) ||
_ruko-container__subcmd__setup_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container setup commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack_commands] )) ||
_ruko-container__subcmd__stack_commands() {
    local commands; commands=(
'build:Make a stack, or make it anew, of Debian'\''s packages' \
'import:Make a stack, or make it anew, of a root file system that is there already' \
'list:Show the stacks of this machine' \
'remove:Remove a stack that no container has' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-container stack commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__build_commands] )) ||
_ruko-container__subcmd__stack__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack build commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help_commands() {
    local commands; commands=(
'build:Make a stack, or make it anew, of Debian'\''s packages' \
'import:Make a stack, or make it anew, of a root file system that is there already' \
'list:Show the stacks of this machine' \
'remove:Remove a stack that no container has' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-container stack help commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help__subcmd__build_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack help build commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help__subcmd__help_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack help help commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help__subcmd__import_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack help import commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help__subcmd__list_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack help list commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__help__subcmd__remove_commands] )) ||
_ruko-container__subcmd__stack__subcmd__help__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack help remove commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__import_commands] )) ||
_ruko-container__subcmd__stack__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack import commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__list_commands] )) ||
_ruko-container__subcmd__stack__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack list commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stack__subcmd__remove_commands] )) ||
_ruko-container__subcmd__stack__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stack remove commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__start_commands] )) ||
_ruko-container__subcmd__start_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container start commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__stop_commands] )) ||
_ruko-container__subcmd__stop_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container stop commands' commands "$@"
}
(( $+functions[_ruko-container__subcmd__teardown_commands] )) ||
_ruko-container__subcmd__teardown_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-container teardown commands' commands "$@"
}

if [ "$funcstack[1]" = "_ruko-container" ]; then
    _ruko-container "$@"
else
    compdef _ruko-container ruko-container
fi
