# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ruko_slug_global_optspecs
    string join \n home= tmp= buildpacks= socket= h/help V/version
end

function __fish_ruko_slug_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ruko_slug_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ruko_slug_using_subcommand
    set -l cmd (__fish_ruko_slug_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -s V -l version -d 'Print version'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "session" -d 'Fetch the stored repository over the host channel, and become git'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "build" -d 'Be git\'s pre-receive hook: build, hand over, commit'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "build-source" -d 'Fetch a tarball over the host channel, and build, hand over, commit'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "refs" -d 'Judge ref updates, `OLD NEW NAME` a line on stdin, as the hook would'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "checkout" -d 'Write the tree of a commit to a directory, without HEAD, index or filters'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "detect" -d 'Say which of the buildpacks that ship takes an app'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "compile" -d 'Run a buildpack\'s compile'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "pack" -d 'Write the slug of an app to stdout'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "types" -d 'Print an app\'s process types, `TYPE: COMMAND` a line'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "submit" -d 'Hand a packed slug over the host channel, and print its size and SHA-256 as stored'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "cache" -d 'Write the build cache to stdout, as tar.gz; nothing if it is empty or the hook did not keep it'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "inspect" -d 'Say what a packed slug holds'
complete -c ruko-slug -n "__fish_ruko_slug_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l max-pack-bytes -d 'The largest pack that a push may send' -r
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l advertise -d 'Only say what the service offers'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -l stateless-rpc -d 'Answer one request, read from stdin'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand session" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build-source" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build-source" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build-source" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build-source" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand build-source" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l repository -d 'The bare repository; in a hook, the one whose hook it is' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l deploy-ref -d 'A ref whose push makes a release' -r
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand refs" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -l repository -d 'The bare repository; in a hook, the one whose hook it is' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand checkout" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -l stack -d 'The stack, for `STACK` [default: the Heroku stack that this machine can stand in for]' -r
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand detect" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l buildpack -d 'The buildpack: a name, a git URL with #REF, or a tarball\'s URL' -r
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l stack -d 'The stack, for `STACK` [default: the Heroku stack that this machine can stand in for]' -r
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand compile" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand pack" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand pack" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand pack" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand pack" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand pack" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -l release -d 'A release document with further types: what a buildpack\'s bin/release printed' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand types" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand submit" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand submit" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand submit" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand submit" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand submit" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand cache" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand cache" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand cache" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand cache" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand cache" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -l home -d 'HOME of a build, where the app will run from [default: /app]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -l tmp -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -l buildpacks -d 'The buildpacks that ship [default: those installed with this program, else /app/buildpacks]' -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -l socket -r -F
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -l json -d 'As JSON'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "session" -d 'Fetch the stored repository over the host channel, and become git'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "build" -d 'Be git\'s pre-receive hook: build, hand over, commit'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "build-source" -d 'Fetch a tarball over the host channel, and build, hand over, commit'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "refs" -d 'Judge ref updates, `OLD NEW NAME` a line on stdin, as the hook would'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "checkout" -d 'Write the tree of a commit to a directory, without HEAD, index or filters'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "detect" -d 'Say which of the buildpacks that ship takes an app'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "compile" -d 'Run a buildpack\'s compile'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "pack" -d 'Write the slug of an app to stdout'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "types" -d 'Print an app\'s process types, `TYPE: COMMAND` a line'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "submit" -d 'Hand a packed slug over the host channel, and print its size and SHA-256 as stored'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "cache" -d 'Write the build cache to stdout, as tar.gz; nothing if it is empty or the hook did not keep it'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "inspect" -d 'Say what a packed slug holds'
complete -c ruko-slug -n "__fish_ruko_slug_using_subcommand help; and not __fish_seen_subcommand_from session build build-source refs checkout detect compile pack types submit cache inspect help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
