#compdef ruko-slug

autoload -U is-at-least

_ruko-slug() {
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
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_ruko-slug_commands" \
"*::: :->ruko-slug" \
&& ret=0
    case $state in
    (ruko-slug)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-slug-command-$line[1]:"
        case $line[1] in
            (session)
_arguments "${_arguments_options[@]}" : \
'--max-pack-bytes=[The largest pack that a push may send]:BYTES:_default' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'(--stateless-rpc)--advertise[Only say what the service offers]' \
'--stateless-rpc[Answer one request, read from stdin]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':service -- What the client asked for:((receive-pack\:"A push"
upload-pack\:"A fetch or clone"
upload-archive\:"\`git archive --remote\`"))' \
&& ret=0
;;
(build)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(build-source)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(refs)
_arguments "${_arguments_options[@]}" : \
'--repository=[The bare repository; in a hook, the one whose hook it is]:REPOSITORY:_files' \
'*--deploy-ref=[A ref whose push makes a release]:DEPLOY_REFS:_default' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(checkout)
_arguments "${_arguments_options[@]}" : \
'--repository=[The bare repository; in a hook, the one whose hook it is]:REPOSITORY:_files' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':commit -- The commit'\''s full id:_default' \
':into -- The directory, which is made:_files' \
&& ret=0
;;
(detect)
_arguments "${_arguments_options[@]}" : \
'--stack=[The stack, for \`STACK\` \[default\: the Heroku stack that this machine can stand in for\]]:STACK:_default' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':app -- The app:_files' \
&& ret=0
;;
(compile)
_arguments "${_arguments_options[@]}" : \
'--buildpack=[The buildpack\: a name, a git URL with #REF, or a tarball'\''s URL]:BUILDPACK:_default' \
'--stack=[The stack, for \`STACK\` \[default\: the Heroku stack that this machine can stand in for\]]:STACK:_default' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':app -- The app:_files' \
':cache -- What is kept from build to build:_files' \
':env -- A directory with a file for each config var:_files' \
&& ret=0
;;
(pack)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':app -- The app:_files' \
&& ret=0
;;
(types)
_arguments "${_arguments_options[@]}" : \
'--release=[A release document with further types\: what a buildpack'\''s bin/release printed]:RELEASE:_files' \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':app -- The app:_files' \
&& ret=0
;;
(submit)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
':slug -- The slug:_files' \
&& ret=0
;;
(cache)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(inspect)
_arguments "${_arguments_options[@]}" : \
'--home=[HOME of a build, where the app will run from \[default\: /app\]]:DIR:_files' \
'--tmp=[]:TMP:_files' \
'--buildpacks=[The buildpacks that ship \[default\: those installed with this program, else /app/buildpacks\]]:DIR:_files' \
'--socket=[]:SOCKET:_files' \
'--json[As JSON]' \
'-h[Print help]' \
'--help[Print help]' \
':slug -- The slug:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_ruko-slug__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ruko-slug-help-command-$line[1]:"
        case $line[1] in
            (session)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(build)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(build-source)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(refs)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(checkout)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(detect)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(compile)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(pack)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(types)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(submit)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(cache)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(inspect)
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

(( $+functions[_ruko-slug_commands] )) ||
_ruko-slug_commands() {
    local commands; commands=(
'session:Fetch the stored repository over the host channel, and become git' \
'build:Be git'\''s pre-receive hook\: build, hand over, commit' \
'build-source:Fetch a tarball over the host channel, and build, hand over, commit' \
'refs:Judge ref updates, \`OLD NEW NAME\` a line on stdin, as the hook would' \
'checkout:Write the tree of a commit to a directory, without HEAD, index or filters' \
'detect:Say which of the buildpacks that ship takes an app' \
'compile:Run a buildpack'\''s compile' \
'pack:Write the slug of an app to stdout' \
'types:Print an app'\''s process types, \`TYPE\: COMMAND\` a line' \
'submit:Hand a packed slug over the host channel, and print its size and SHA-256 as stored' \
'cache:Write the build cache to stdout, as tar.gz; nothing if it is empty or the hook did not keep it' \
'inspect:Say what a packed slug holds' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-slug commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__build_commands] )) ||
_ruko-slug__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug build commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__build-source_commands] )) ||
_ruko-slug__subcmd__build-source_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug build-source commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__cache_commands] )) ||
_ruko-slug__subcmd__cache_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug cache commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__checkout_commands] )) ||
_ruko-slug__subcmd__checkout_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug checkout commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__compile_commands] )) ||
_ruko-slug__subcmd__compile_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug compile commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__detect_commands] )) ||
_ruko-slug__subcmd__detect_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug detect commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help_commands] )) ||
_ruko-slug__subcmd__help_commands() {
    local commands; commands=(
'session:Fetch the stored repository over the host channel, and become git' \
'build:Be git'\''s pre-receive hook\: build, hand over, commit' \
'build-source:Fetch a tarball over the host channel, and build, hand over, commit' \
'refs:Judge ref updates, \`OLD NEW NAME\` a line on stdin, as the hook would' \
'checkout:Write the tree of a commit to a directory, without HEAD, index or filters' \
'detect:Say which of the buildpacks that ship takes an app' \
'compile:Run a buildpack'\''s compile' \
'pack:Write the slug of an app to stdout' \
'types:Print an app'\''s process types, \`TYPE\: COMMAND\` a line' \
'submit:Hand a packed slug over the host channel, and print its size and SHA-256 as stored' \
'cache:Write the build cache to stdout, as tar.gz; nothing if it is empty or the hook did not keep it' \
'inspect:Say what a packed slug holds' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'ruko-slug help commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__build_commands] )) ||
_ruko-slug__subcmd__help__subcmd__build_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help build commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__build-source_commands] )) ||
_ruko-slug__subcmd__help__subcmd__build-source_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help build-source commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__cache_commands] )) ||
_ruko-slug__subcmd__help__subcmd__cache_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help cache commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__checkout_commands] )) ||
_ruko-slug__subcmd__help__subcmd__checkout_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help checkout commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__compile_commands] )) ||
_ruko-slug__subcmd__help__subcmd__compile_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help compile commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__detect_commands] )) ||
_ruko-slug__subcmd__help__subcmd__detect_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help detect commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__help_commands] )) ||
_ruko-slug__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help help commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__inspect_commands] )) ||
_ruko-slug__subcmd__help__subcmd__inspect_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help inspect commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__pack_commands] )) ||
_ruko-slug__subcmd__help__subcmd__pack_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help pack commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__refs_commands] )) ||
_ruko-slug__subcmd__help__subcmd__refs_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help refs commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__session_commands] )) ||
_ruko-slug__subcmd__help__subcmd__session_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help session commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__submit_commands] )) ||
_ruko-slug__subcmd__help__subcmd__submit_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help submit commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__help__subcmd__types_commands] )) ||
_ruko-slug__subcmd__help__subcmd__types_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug help types commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__inspect_commands] )) ||
_ruko-slug__subcmd__inspect_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug inspect commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__pack_commands] )) ||
_ruko-slug__subcmd__pack_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug pack commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__refs_commands] )) ||
_ruko-slug__subcmd__refs_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug refs commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__session_commands] )) ||
_ruko-slug__subcmd__session_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug session commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__submit_commands] )) ||
_ruko-slug__subcmd__submit_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug submit commands' commands "$@"
}
(( $+functions[_ruko-slug__subcmd__types_commands] )) ||
_ruko-slug__subcmd__types_commands() {
    local commands; commands=()
    _describe -t commands 'ruko-slug types commands' commands "$@"
}

if [ "$funcstack[1]" = "_ruko-slug" ]; then
    _ruko-slug "$@"
else
    compdef _ruko-slug ruko-slug
fi
